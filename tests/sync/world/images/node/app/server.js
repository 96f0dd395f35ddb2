const answer = require("./answer");

require("http").createServer((_, response) => response.end(answer)).listen(8080);
process.on("SIGTERM", () => process.exit(0));
