require "sinatra"
require_relative "answer"

set :bind, "0.0.0.0"
set :port, 8080
set :server, "puma"
set :quiet, true
get("/") { ANSWER }
