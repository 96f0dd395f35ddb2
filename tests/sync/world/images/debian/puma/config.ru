require_relative "answer"

run ->(_) { [200, { "content-type" => "text/plain" }, [ANSWER]] }
