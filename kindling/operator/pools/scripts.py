"""How a runner's container registers itself, runs, and takes its name off the list again.

Everything comes in variables. Tokens go to curl on its standard input, never as an argument that
any process can read. The runner is a child and no successor of the shell, so that the trap is
still there when the pod is told to stop.
"""

from __future__ import annotations

__all__ = ["GITHUB_SCRIPT", "GITLAB_SCRIPT"]

_STOPPABLE = """\
child=
stopping=
stop() {
  stopping=yes
  if [ -n "$child" ]; then kill -"$STOP_SIGNAL" "$child" 2>/dev/null || true; fi
}
trap stop TERM INT

run() {
  # Without job control a child in the background would ignore SIGINT and SIGQUIT for good.
  set -m
  "$@" &
  child=$!
  set +m
  # A wait is cut short by the trap; the last one tells how the child ended.
  while kill -0 "$child" 2>/dev/null; do wait "$child" || true; done
  wait "$child" || status=$?
}

one_line() { tr -d '\\r\\n'; }
field() { one_line | sed -n "s/.*\\"$1\\" *: *\\"\\([^\\"]*\\)\\".*/\\1/p"; }
"""

GITHUB_SCRIPT = f"""\
set -euo pipefail
cd "${{RUNNER_HOME:-/home/runner}}"
STOP_SIGNAL=TERM
status=0
{_STOPPABLE}
token() {{
  printf 'header = "Authorization: Bearer %s"\\n' "$GITHUB_PAT" |
    curl --config - --silent --show-error --fail --max-time 30 --retry 5 --request POST \\
      --header 'Accept: application/vnd.github+json' \\
      "$GITHUB_API_URL/repos/$RUNNER_REPO_SLUG/actions/runners/$1-token" | field token
}}

name="$RUNNER_NAME_PREFIX-$HOSTNAME"
while [ "${{#name}}" -gt 64 ]; do name="${{name#?}}"; done

registration="$(token registration)"
[ -n "$registration" ] || {{ echo "no registration token was given" >&2; exit 1; }}
options=(--unattended --replace --url "$RUNNER_REPOSITORY_URL" --name "$name")
options+=(--labels "$RUNNER_LABELS" --work "$RUNNER_WORKDIR")
if [ -n "${{RUNNER_GROUP:-}}" ]; then options+=(--runnergroup "$RUNNER_GROUP"); fi
if [ "${{RUNNER_EPHEMERAL:-false}}" = true ]; then options+=(--ephemeral); fi
ACTIONS_RUNNER_INPUT_TOKEN="$registration" ./config.sh "${{options[@]}}"

if [ -z "$stopping" ]; then RUNNER_MANUALLY_TRAP_SIG=1 run env -u GITHUB_PAT ./run.sh; fi
removal="$(token remove || true)"
if [ -n "$removal" ]; then ACTIONS_RUNNER_INPUT_TOKEN="$removal" ./config.sh remove; fi
if [ -n "$stopping" ]; then exit 0; fi
exit "$status"
"""
"""Registers at one repository with a token of its own, as the REST API gives it. The end of a long
name is kept, which tells pods apart. The jobs do not see the access token."""

GITLAB_SCRIPT = f"""\
set -euo pipefail
umask 077
STOP_SIGNAL=QUIT
status=0
{_STOPPABLE}
call() {{
  printf 'header = "PRIVATE-TOKEN: %s"\\n' "$GITLAB_PAT" |
    curl --config - --silent --show-error --fail --max-time 30 --retry 5 "$@"
}}

project="$(call "$GITLAB_API_URL/projects/$GITLAB_PROJECT_REF" |
  one_line | sed -n 's/^{{ *"id" *: *\\([0-9]*\\).*/\\1/p')"
[ -n "$project" ] || {{ echo "the project $GITLAB_PROJECT_PATH was not found" >&2; exit 1; }}
registered="$(call --request POST --data-urlencode runner_type=project_type \\
  --data-urlencode "project_id=$project" --data-urlencode run_untagged=true \\
  --data-urlencode "tag_list=$RUNNER_TAG_LIST" --data-urlencode "description=$RUNNER_NAME" \\
  "$GITLAB_API_URL/user/runners" | field token)"
[ -n "$registered" ] || {{ echo "the runner was not registered" >&2; exit 1; }}

config="${{RUNNER_HOME:-/home/gitlab-runner}}/kindling.toml"
cat >"$config" <<CONFIG
concurrent = 1
check_interval = 3

[[runners]]
  name = "$RUNNER_NAME"
  url = "$CI_SERVER_URL"
  token = "$registered"
  executor = "$RUNNER_EXECUTOR"
  builds_dir = "$RUNNER_WORKDIR"
CONFIG

# The files of jobs are for the build agent, which is another user.
umask 022
if [ -z "$stopping" ]; then run env -u GITLAB_PAT gitlab-runner run --config "$config"; fi
printf 'form-string = "token=%s"\\n' "$registered" |
  curl --config - --silent --show-error --fail --max-time 30 --request DELETE \\
    "$GITLAB_API_URL/runners" || true
if [ -n "$stopping" ]; then exit 0; fi
exit "$status"
"""
"""Makes a runner of one project by the API that replaced registration tokens in GitLab 16."""
