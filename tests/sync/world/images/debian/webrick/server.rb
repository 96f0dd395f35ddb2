require "webrick"
require_relative "answer"

server = WEBrick::HTTPServer.new(Port: 8080, AccessLog: [], Logger: WEBrick::Log.new(nil, 0))
server.mount_proc("/") { |_, response| response.body = ANSWER }
trap("TERM") { server.shutdown }
server.start
