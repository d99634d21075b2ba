// A bare HTTP server: reads each request to its end and answers it. What a server in Node.js can do at best.
// Prints its port; ends with its process.
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const text = JSON.stringify({ fallback: false })
const server = createServer((request, response) => {
  request.resume()
  request.once("end", () => {
    response.writeHead(request.url?.startsWith("/v1/events") ? 202 : 200, {
      "content-type": "application/json",
      "content-length": text.length
    })
    response.end(text)
  })
})
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
})
