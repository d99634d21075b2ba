// Whatever arrives, the answer is one of those that the contract knows: never a 500, never a stack trace.
import { connect } from "node:net"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { makeWorld, type Surface, startSurface } from "./surface.ts"

const SEED = 20_260_101

const allowed = new Set([
  200, 202, 204, 302, 400, 404, 405, 406, 408, 409, 412, 413, 414, 415, 417, 422, 429, 431, 503
])

let surface: Surface
beforeAll(async () => {
  surface = await startSurface({ world: makeWorld(["pump-1"]), http: { bodyBytesMax: 100_000 } })
})
afterAll(() => surface.stop())

const exchange = (bytes: Uint8Array): Promise<string> =>
  new Promise((resolve) => {
    const chunks: Array<Buffer> = []
    const done = () => resolve(Buffer.concat(chunks).toString("latin1"))
    const socket = connect(surface.port, "127.0.0.1", () => socket.end(bytes))
    socket.on("data", (chunk) => {
      chunks.push(chunk)
      // A live feed never ends by itself; its head is enough.
      if (chunk.includes("text/event-stream")) socket.destroy()
    })
    socket.on("error", done)
    socket.on("close", done)
  })

const check = (whole: string, sent: string) => {
  const answer = whole.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, "")
  if (answer === "") return
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1])
  expect(allowed.has(status), `status ${status} for ${JSON.stringify(sent)}: ${answer.slice(0, 400)}`).toBe(
    true
  )
  expect(answer).not.toMatch(/node_modules|\.ts:\d+:\d+|at async/)
  if (status >= 400 && /content-length: [1-9]/i.test(answer) && !answer.includes('"components"')) {
    expect(answer.toLowerCase(), sent).toContain("application/problem+json")
  }
}

const request = (
  method: string,
  target: string,
  headers: ReadonlyArray<readonly [string, string]>,
  body: Uint8Array
) =>
  Buffer.concat([
    Buffer.from(
      `${method} ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join("")}Content-Length: ${body.length}\r\n\r\n`,
      "latin1"
    ),
    body
  ])

const segment = fc.oneof(
  fc.constantFrom(
    "v1",
    "events",
    "score",
    "devices",
    "pump-1",
    "quarantine",
    "override",
    "label",
    "release",
    "cells",
    "flows",
    "0",
    "models",
    "activate",
    "incidents",
    "alerts",
    "deadletters",
    "replay",
    "streams",
    "regions",
    "local",
    "livez",
    "metrics",
    "docs",
    "..",
    "%2F",
    "%00",
    "%zz",
    "%C3%A9",
    ";",
    "*",
    "__proto__",
    "constructor"
  ),
  fc.string({ maxLength: 12, unit: "grapheme-ascii" }).map(encodeURIComponent)
)
const query = fc.oneof(
  fc.constant(""),
  fc
    .array(
      fc.tuple(
        fc.constantFrom(
          "stream",
          "limit",
          "cursor",
          "prefix",
          "state",
          "status",
          "device",
          "reason",
          "__proto__",
          "x"
        ),
        fc.oneof(
          fc.constantFrom("flows", "1", "-1", "1e9", "", "%", "%ff", "a&stream=b", "null"),
          fc.string({ maxLength: 10, unit: "grapheme-ascii" }).map(encodeURIComponent)
        )
      ),
      { maxLength: 4 }
    )
    .map((pairs) => `?${pairs.map((pair) => pair.join("=")).join("&")}`)
)
const header = fc.tuple(
  fc.constantFrom(
    "Content-Type",
    "Content-Encoding",
    "Accept",
    "If-Match",
    "Idempotency-Key",
    "Last-Event-ID",
    "ce-id",
    "ce-specversion",
    "ce-__proto__",
    "Groundstate-Stream",
    "Transfer-Encoding",
    "Expect",
    "Upgrade",
    "Range",
    "traceparent"
  ),
  fc.oneof(
    fc.constantFrom(
      "application/json",
      "application/x-ndjson",
      "application/cloudevents+json",
      "application/cloudevents-batch+json",
      "text/event-stream",
      "gzip",
      "chunked",
      "100-continue",
      '"1"',
      "*",
      "1.0",
      "flows",
      "websocket"
    ),
    fc.string({ maxLength: 20, unit: "grapheme-ascii" }).map((text) => text.replaceAll(/[^ -~]/g, ""))
  )
)
const json = fc.json({ maxDepth: 4 }).map((text) => Buffer.from(text))
const eventLike = fc
  .record(
    {
      device: fc.oneof(fc.string(), fc.integer(), fc.constant(null)),
      ts: fc.oneof(fc.integer(), fc.double(), fc.string()),
      id: fc.oneof(fc.string(), fc.integer()),
      bytesIn: fc.oneof(fc.double(), fc.string(), fc.boolean()),
      proto: fc.oneof(fc.string(), fc.array(fc.string())),
      specversion: fc.constant("1.0"),
      data: fc.anything()
    },
    { requiredKeys: [] }
  )
  .map((value) =>
    Buffer.from(JSON.stringify(value, (_, part) => (typeof part === "bigint" ? String(part) : part)) ?? "")
  )
const body = fc.oneof(
  fc.constant(Buffer.alloc(0)),
  json,
  eventLike,
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes))
)

describe("whatever arrives", () => {
  it("as a request to any address", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "PROPFIND"),
        fc.array(segment, { maxLength: 5 }),
        query,
        fc.array(header, { maxLength: 4 }),
        body,
        async (method, segments, search, headers, content) => {
          const target = `/${segments.join("/")}${search}`
          check(
            await exchange(request(method, target, headers, content)),
            `${method} ${target} ${JSON.stringify(headers)}`
          )
        }
      ),
      { seed: SEED, numRuns: 400 }
    )
  }, 120_000)

  it("as an event", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(
          "/v1/events?stream=flows",
          "/v1/events?stream=clouds",
          "/v1/score?stream=flows",
          "/v1/deadletters/replay",
          "/v1/devices/pump-1/override?stream=flows"
        ),
        fc.constantFrom(
          "application/json",
          "application/x-ndjson",
          "application/cloudevents+json",
          "application/cloudevents-batch+json"
        ),
        body,
        async (target, type, content) => {
          const answer = await exchange(request("POST", target, [["Content-Type", type]], content))
          check(answer, `${target} ${type} ${content.toString("base64")}`)
        }
      ),
      { seed: SEED, numRuns: 400 }
    )
  }, 120_000)

  it("as bytes that are no request", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        const answer = await exchange(Buffer.concat([bytes, Buffer.from("\r\n\r\n")]))
        check(answer, Buffer.from(bytes).toString("base64"))
      }),
      { seed: SEED, numRuns: 200 }
    )
  }, 60_000)

  it("leaves a server that answers", async () => {
    expect((await fetch(`${surface.url}/livez`)).status).toBe(200)
  })
})
