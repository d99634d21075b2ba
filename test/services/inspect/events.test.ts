// POST /v1/events and POST /v1/score: nothing is taken that its cell would refuse, nothing is taken in part.
import { request } from "node:http"
import { connect } from "node:net"
import { gzipSync } from "node:zlib"
import { afterEach, describe, expect, it } from "vitest"
import { ASK_HEADER } from "../../../src/schema/protocol/CellProtocol.ts"
import type { Verdict } from "../../../src/schema/verdict/Verdict.ts"
import { Asks } from "../../../src/services/observe/Asks.ts"
import { makeWorld, type Surface, type SurfaceOptions, startSurface } from "./surface.ts"

const TIME = 1_700_000_000_000
const event = (more: object = {}) => ({ device: "pump-1", ts: TIME, bytesIn: 3, ...more })

let surface: Surface | undefined
afterEach(async () => {
  await surface?.stop()
  surface = undefined
})

const start = async (options: SurfaceOptions = {}) => {
  surface = await startSurface({ streams: ["flows"], ...options })
  return surface
}

const post = (
  to: Surface,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
  path = "/v1/events"
) =>
  fetch(to.url + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body
  })

const stored = (to: Surface, topic = "flows") =>
  (to.world.topics.get(topic) ?? []).flatMap((partition) =>
    partition.map((record) => Buffer.from(record.value as Uint8Array).toString())
  )

describe("the forms of a body", () => {
  it("takes one event, with its own bytes", async () => {
    const to = await start()
    const text = '{ "device":"pump-1", "ts":1700000000000, "bytesIn":12345678901234567890.10 }'
    const response = await post(to, text)
    expect(response.status).toBe(202)
    expect(await response.json()).toMatchObject({ stream: "flows", accepted: 1 })
    expect(stored(to)).toEqual([text])
  })

  it("takes an array, each element with its own bytes", async () => {
    const to = await start()
    const rows = ['{"device":"a","ts":1,"bytesIn":1.50}', '{"device":"a","ts":2,"x":"],[\\"{"}']
    const response = await post(to, `[ ${rows.join(" ,\n ")} ]`)
    expect(await response.json()).toMatchObject({ accepted: 2 })
    expect(stored(to).sort()).toEqual([...rows].sort())
  })

  it("takes lines, passing over empty ones, and tells where they are", async () => {
    const to = await start()
    const lines = ["a", "b", "c", "a"].map((device, ts) => JSON.stringify({ device, ts }))
    const response = await post(to, `${lines.join("\r\n")}\n \n\n`, {
      "content-type": "application/x-ndjson"
    })
    const { accepted, partitions } = (await response.json()) as {
      accepted: number
      partitions: Array<{ count: number; firstOffset: number; lastOffset: number }>
    }
    expect(accepted).toBe(4)
    expect(partitions.reduce((sum, { count }) => sum + count, 0)).toBe(4)
    for (const { count, firstOffset, lastOffset } of partitions)
      expect(lastOffset - firstOffset).toBe(count - 1)
    expect(stored(to).sort()).toEqual([...lines].sort())
  })

  it("takes gzip", async () => {
    const to = await start()
    const response = await post(to, gzipSync(JSON.stringify(event())), { "content-encoding": "gzip" })
    expect(response.status).toBe(202)
    expect(stored(to)).toEqual([JSON.stringify(event())])
  })

  it("takes the data out of CloudEvents for a stream of plain JSON", async () => {
    const to = await start()
    const envelope = (data: string) =>
      `{"specversion":"1.0","id":"1","source":"/s","type":"t","nested":{"data":{}},"data":${data},"subject":"x"}`
    const data = '{"device":"pump-1","ts":1,"bytesIn":1.500}'
    const one = await post(to, envelope(data), {
      "content-type": "application/cloudevents+json; charset=utf-8"
    })
    expect(one.status).toBe(202)
    const batch = await post(to, `[${envelope(data)}]`, {
      "content-type": "application/cloudevents-batch+json"
    })
    expect(batch.status).toBe(202)
    const encoded = JSON.stringify({
      specversion: "1.0",
      id: "1",
      source: "/s",
      type: "t",
      data_base64: Buffer.from(data).toString("base64")
    })
    expect((await post(to, encoded, { "content-type": "application/cloudevents+json" })).status).toBe(202)
    expect(stored(to)).toEqual([data, data, data])
  })

  it("takes CloudEvents as they are for a stream of CloudEvents, in both modes", async () => {
    const to = await start({ streams: ["clouds"] })
    const envelope =
      '{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"pump-1","time":"2026-01-01T00:00:00Z","data":{"load":1.0}}'
    const structured = await post(to, envelope, { "content-type": "application/cloudevents+json" })
    expect(structured.status).toBe(202)
    const binary = await post(to, '{"load":2.0}', {
      "ce-specversion": "1.0",
      "ce-id": "2",
      "ce-source": "/s",
      "ce-type": "t",
      "ce-subject": "p%C3%BCmp-1",
      "ce-time": "2026-01-01T00:00:00Z"
    })
    expect(binary.status).toBe(202)
    expect(stored(to, "clouds").sort()).toEqual([envelope, '{"load":2.0}'].sort())
    const records = [...(to.world.topics.get("clouds") ?? [])].flat()
    expect(records.find(({ headers }) => headers !== undefined)).toMatchObject({
      key: new TextEncoder().encode("pümp-1"),
      headers: { ce_id: "2", ce_subject: "pümp-1", "content-type": "application/json" }
    })
  })

  it("refuses an envelope that is none, naming row and attribute", async () => {
    const to = await start()
    const response = await post(to, '{"specversion":"0.3","data":{}}', {
      "content-type": "application/cloudevents+json"
    })
    expect(response.status).toBe(422)
    expect(await response.json()).toMatchObject({
      errors: [{ row: 0, field: "specversion", reason: "bad-envelope" }]
    })
  })

  it("takes an empty array as nothing", async () => {
    const to = await start()
    const response = await post(to, "[]")
    expect([response.status, await response.json()]).toEqual([
      202,
      { stream: "flows", accepted: 0, partitions: [] }
    ])
  })
})

describe("all or nothing", () => {
  it("names every bad row with its field, and appends none", async () => {
    const to = await start()
    const rows = [event(), event({ bytesIn: "many" }), { ts: TIME }, event({ ts: "yesterday" }), event()]
    const response = await post(to, JSON.stringify(rows))
    expect(response.status).toBe(422)
    expect(response.headers.get("content-type")).toMatch(/^application\/problem\+json/)
    const problem = (await response.json()) as { errors: Array<object> }
    expect(problem.errors).toMatchObject([
      { row: 1, field: "bytesIn", reason: "wrong-type" },
      { row: 2, field: "device", reason: "missing-device" },
      { row: 3, field: "ts", reason: "bad-time" }
    ])
    expect(stored(to)).toEqual([])
  })

  it("names the first hundred of more, and counts them all", async () => {
    const to = await start()
    const response = await post(to, JSON.stringify(Array.from({ length: 300 }, () => ({}))))
    const problem = (await response.json()) as { errors: Array<object>; detail: string }
    expect(problem.errors.length).toBe(100)
    expect(problem.detail).toMatch(/^300 of 300 events/)
  })

  it.each([
    ["no JSON", '{"device":', "application/json", 400],
    ["an array that ends early", '[{"device":"a","ts":1}', "application/json", 400],
    ["two values", "{} {}", "application/json", 400],
    ["nothing", "", "application/json", 400],
    ["a number", "7", "application/json", 422],
    ["a line that is no JSON", '{"device":"a","ts":1}\n{oops\n', "application/x-ndjson", 422],
    ["nesting without end", "[".repeat(5_000), "application/json", 400],
    ["text", "device=a", "text/plain", 415],
    ["a form", "device=a", "application/x-www-form-urlencoded", 415],
    ["another charset", "{}", "application/json; charset=utf-16", 415],
    ["an object for a batch", "{}", "application/cloudevents-batch+json", 400]
  ])("refuses %s", async (_, body, type, status) => {
    const to = await start()
    const response = await post(to, body, { "content-type": type })
    expect(response.status).toBe(status)
    expect(response.headers.get("content-type")).toMatch(/^application\/problem\+json/)
    expect(stored(to)).toEqual([])
  })

  it("refuses other encodings, and gzip that is none", async () => {
    const to = await start()
    expect((await post(to, "{}", { "content-encoding": "br" })).status).toBe(415)
    expect((await post(to, "not gzip", { "content-encoding": "gzip" })).status).toBe(400)
  })
})

describe("limits", () => {
  const small = { http: { bodyBytesMax: 10_000, rowsMax: 10 } }

  it("refuses a body over the limit, whether its length is told or not", async () => {
    const to = await start(small)
    expect((await post(to, `"${"x".repeat(20_000)}"`)).status).toBe(413)
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(4_096).fill(0x20))
    })
    const response = await fetch(`${to.url}/v1/events`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: endless,
      duplex: "half"
    } as RequestInit)
    expect(response.status).toBe(413)
  })

  it("refuses gzip that grows over the limit", async () => {
    const to = await start(small)
    const bomb = gzipSync(Buffer.alloc(5_000_000, 0x20))
    expect(bomb.length).toBeLessThan(10_000)
    expect((await post(to, bomb, { "content-encoding": "gzip" })).status).toBe(413)
  })

  it("refuses more events than allowed, in every form", async () => {
    const to = await start(small)
    const rows = Array.from({ length: 11 }, (_, ts) => JSON.stringify({ device: "a", ts }))
    expect((await post(to, `[${rows.join()}]`)).status).toBe(413)
    expect((await post(to, rows.join("\n"), { "content-type": "application/x-ndjson" })).status).toBe(413)
    expect(stored(to)).toEqual([])
  })

  it("says when to come back while the log has not taken what is held", async () => {
    const world = makeWorld()
    world.log = "stuck"
    const to = await start({ world, http: { pendingBytesMax: 200 } })
    const first = new AbortController()
    const waiting = fetch(`${to.url}/v1/events`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(event({ note: "x".repeat(100) })),
      signal: first.signal
    }).catch(() => undefined)
    let response = await post(to, JSON.stringify(event({ note: "y".repeat(100) })))
    while (response.status !== 429)
      response = await post(to, JSON.stringify(event({ note: "y".repeat(100) })))
    expect(response.headers.get("retry-after")).toBe("1")
    first.abort()
    await waiting
  })

  it("is unavailable while the log is", async () => {
    const world = makeWorld()
    world.log = "away"
    const to = await start({ world })
    const response = await post(to, JSON.stringify(event()))
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"])
    world.log = "well"
    expect((await post(to, JSON.stringify(event()))).status).toBe(202)
  })
})

describe("an idempotency key", () => {
  it("gives the same answer and appends once", async () => {
    const to = await start()
    const send = () => post(to, JSON.stringify(event()), { "idempotency-key": "k1" })
    const answers = await Promise.all([send(), send(), send()])
    const texts = await Promise.all(answers.map((answer) => answer.text()))
    expect(new Set(texts).size).toBe(1)
    expect(await (await send()).text()).toBe(texts[0])
    expect(stored(to).length).toBe(1)
  })

  it("belongs to one body", async () => {
    const to = await start()
    await post(to, JSON.stringify(event()), { "idempotency-key": "k1" })
    const response = await post(to, JSON.stringify(event({ bytesIn: 4 })), { "idempotency-key": "k1" })
    expect(response.status).toBe(422)
    expect(await response.json()).toMatchObject({ type: "urn:groundstate:problem:idempotency-key-reused" })
    expect(stored(to).length).toBe(1)
  })

  it("does not remember a failure", async () => {
    const world = makeWorld()
    world.log = "away"
    const to = await start({ world })
    const send = () => post(to, JSON.stringify(event()), { "idempotency-key": "k1" })
    expect((await send()).status).toBe(503)
    world.log = "well"
    expect((await send()).status).toBe(202)
  })
})

describe("the stream", () => {
  it("must be named where several are served", async () => {
    const to = await start({ streams: ["flows", "clouds"] })
    expect((await post(to, JSON.stringify(event()))).status).toBe(400)
    expect((await post(to, JSON.stringify(event()), {}, "/v1/events?stream=flows")).status).toBe(202)
    expect((await post(to, JSON.stringify(event()), { "groundstate-stream": "flows" })).status).toBe(202)
    expect((await post(to, JSON.stringify(event()), {}, "/v1/events?stream=none")).status).toBe(404)
  })
})

describe("asking for a verdict", () => {
  const ask = (to: Surface, body: unknown) => post(to, JSON.stringify(body), {}, "/v1/score")

  it("appends the event and answers with its cell's verdict", async () => {
    const to = await start()
    const response = await ask(to, event())
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({
      device: "pump-1",
      fallback: false,
      path: "baseline",
      energy: 1.5
    })
    const [record] = [...(to.world.topics.get("flows") ?? [])].flat()
    expect(record.headers?.[ASK_HEADER]).toMatch(/^[0-9a-f-]{36}$/)
  })

  it("answers with the rules where the cell does not in time, and says where the event is", async () => {
    const world = makeWorld()
    world.cells = "silent"
    const to = await start({ world })
    const normal = (await (await ask(to, event())).json()) as object
    expect(normal).toMatchObject({
      fallback: true,
      path: "rules",
      decision: "normal",
      anomalous: false,
      offset: 0
    })
    const alarming = (await (await ask(to, event({ bytesIn: 5000 }))).json()) as object
    expect(alarming).toMatchObject({
      fallback: true,
      decision: "alert",
      anomalous: true,
      rule: "telnet",
      severity: "high",
      offset: 1
    })
  })

  it("does not wait for a cell that can't answer", async () => {
    const world = makeWorld()
    world.cells = "away"
    const to = await start({ world })
    expect(await (await ask(to, event())).json()).toMatchObject({ fallback: true })
  })

  it("has no offset where the log has not taken the event", async () => {
    const world = makeWorld()
    world.log = "stuck"
    world.cells = "silent"
    const to = await start({ world })
    expect(await (await ask(to, event())).json()).toMatchObject({ fallback: true, offset: null })
    world.log = "away"
    expect(await (await ask(to, event())).json()).toMatchObject({ fallback: true, offset: null })
  })

  it("takes one good event and nothing else", async () => {
    const to = await start()
    expect((await ask(to, { ts: TIME })).status).toBe(422)
    expect((await ask(to, [event()])).status).toBe(422)
    expect((await post(to, "{}\n{}", { "content-type": "application/x-ndjson" }, "/v1/score")).status).toBe(
      415
    )
    expect(stored(to)).toEqual([])
  })
})

describe("a cell of this runner", () => {
  const verdict = (partition: number): Verdict => ({
    stream: "flows",
    device: "pump-1",
    partition,
    offset: 7,
    anomalous: false,
    decision: "normal",
    rule: null,
    severity: null,
    fallback: false,
    path: "baseline",
    model: null,
    energy: 2.5,
    pvalue: null,
    alertId: null,
    contributions: [],
    rejected: null
  })
  /** Every partition has its cell here; messages to cells would fail. */
  const startHere = async (answers: boolean) => {
    const world = makeWorld()
    world.cells = "away"
    const to = await start({ world })
    const asks = await to.runtime.runPromise(Asks)
    const waiting = new Set<string>()
    const close = [0, 1, 2, 3].map((partition) =>
      asks.open("flows", partition, (askId, take) => {
        waiting.add(askId)
        if (answers) setImmediate(() => take(verdict(partition)))
        return () => void waiting.delete(askId)
      })
    )
    return { to, waiting, close }
  }
  const ask = (to: Surface, path = "/v1/score") => post(to, JSON.stringify(event()), {}, path)

  it("is asked without a message, whether the request takes the short way or the router's", async () => {
    const { to, waiting } = await startHere(true)
    for (const path of ["/v1/score", "/v1/score?stream=flows", "/v1/score?stream=flows&more=1"]) {
      expect(await (await ask(to, path)).json()).toMatchObject({ energy: 2.5, fallback: false })
    }
    expect(waiting.size).toBe(0)
  })

  it("that is silent is waited for no longer than declared, and forgotten", async () => {
    const { to, waiting } = await startHere(false)
    expect(await (await ask(to)).json()).toMatchObject({ fallback: true, path: "rules", offset: 0 })
    expect(waiting.size).toBe(0)
  })

  it("that has gone elsewhere is sent a message", async () => {
    const { to, close } = await startHere(true)
    for (const leave of close) leave()
    to.world.cells = "well"
    expect(await (await ask(to)).json()).toMatchObject({ energy: 1.5 })
  })
})

describe("the short way and the router's", () => {
  const good = JSON.stringify(event())
  it.each([
    ["a good event", good, "application/json", 202],
    ["another media type", good, "text/plain", 415],
    ["bad JSON", "{", "application/json", 400],
    ["a bad event", "{}", "application/json", 422],
    ["a large body", `"${"x".repeat(20_000)}"`, "application/json", 413]
  ])("answer %s alike", async (_, body, type, status) => {
    const to = await start({ http: { bodyBytesMax: 10_000 } })
    const headers = { "content-type": type }
    const seen = await Promise.all(
      ["?stream=flows", "?stream=flows&more=1"].map(async (query) => {
        const response = await post(to, body, headers, `/v1/events${query}`)
        const told = [...response.headers].filter(([name]) => name !== "date").sort()
        return {
          status: response.status,
          told,
          text: (await response.text()).replace(/Offset":\d/g, 'Offset":0')
        }
      })
    )
    expect(seen[0].status).toBe(status)
    expect(seen[0]).toEqual(seen[1])
  })

  it.each(["", "&more=1"])("free what a caller had sent who hangs up (%s)", async (query) => {
    const to = await start({ http: { pendingBytesMax: 200 } })
    const body = JSON.stringify(event({ note: "x".repeat(100) }))
    const held = () => post(to, body).then(({ status }) => status)
    await new Promise<void>((done) => {
      const socket = connect(to.port, "127.0.0.1", () => {
        socket.write(
          `POST /v1/events?stream=flows${query} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n${body}`
        )
      })
      const full = async (): Promise<void> => {
        if ((await held()) !== 429) return full()
        socket.destroy()
        done()
      }
      void full()
    })
    let status = await held()
    while (status === 429) status = await held()
    expect(status).toBe(202)
  })

  it("answer a client that would rather speak another protocol in this one", async () => {
    const to = await start()
    const status = await new Promise<number | undefined>((done, failed) => {
      const sent = request(
        `${to.url}/v1/events`,
        {
          method: "POST",
          headers: { "content-type": "application/json", connection: "Upgrade", upgrade: "h2c" }
        },
        (response) => {
          response.resume()
          done(response.statusCode)
        }
      )
      sent.once("error", failed)
      sent.end(good)
    })
    expect(status).toBe(202)
  })
})
