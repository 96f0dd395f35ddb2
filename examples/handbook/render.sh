# Usage: render.sh TEXT HTML. The first line is the heading, the others are paragraphs. White space at
# the end of a line and empty lines mean nothing, so a change to them leaves the page as it was.
set -eu
mkdir -p "$(dirname "$2")"
sed -e 's/[[:space:]]*$//' -e '/^$/d' "$1" |
  sed -e '1s/.*/<h2>&<\/h2>/' -e '2,$s/.*/<p>&<\/p>/' > "$2.new"
mv "$2.new" "$2"
