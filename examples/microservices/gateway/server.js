// The gateway is the only service that is seen from outside: a page, and the way to the others.
"use strict";

const http = require("node:http");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const page = readFileSync(join(__dirname, "page.html"));
const services = {
  "/orders": new URL(process.env.ORDERS_URL),
  "/stock": new URL(process.env.INVENTORY_URL),
};

// Passes a request on and its answer back. A service that is not there is the gateway's 502.
function pass(request, answer, service) {
  const onward = http.request(
    {
      host: service.hostname,
      port: service.port || 80,
      method: request.method,
      path: request.url,
      headers: { ...request.headers, host: service.host },
      timeout: 10000,
    },
    (reply) => {
      answer.writeHead(reply.statusCode, reply.headers);
      reply.pipe(answer);
    },
  );
  onward.on("timeout", () => onward.destroy(new Error("no answer within 10 s")));
  onward.on("error", (error) => {
    if (!answer.headersSent) answer.writeHead(502, { "content-type": "text/plain" });
    answer.end(`${service.hostname}: ${error.message}\n`);
  });
  request.pipe(onward);
}

const server = http.createServer((request, answer) => {
  const { pathname } = new URL(request.url, "http://gateway");
  if (pathname === "/healthz") return answer.end("ok\n");
  if (pathname === "/") {
    answer.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    return answer.end(page);
  }
  const prefix = Object.keys(services).find((one) => pathname === one || pathname.startsWith(`${one}/`));
  if (prefix) return pass(request, answer, services[prefix]);
  answer.writeHead(404, { "content-type": "text/plain" });
  answer.end(`there is nothing at ${pathname}\n`);
});

server.listen(8080, () => console.log("gateway listens on port 8080"));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
