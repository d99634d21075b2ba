// What every address has in common: problems, methods, headers, probes, and the published contract.
import { connect } from "node:net"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { openApiDocument } from "../../../src/services/inspect/openApi.ts"
import { Health } from "../../../src/services/observe/Health.ts"
import { makeWorld, type Surface, startSurface } from "./surface.ts"

let surface: Surface
beforeAll(async () => {
  surface = await startSurface()
})
afterAll(() => surface.stop())

const problemOf = async (response: Response) => {
  expect(response.headers.get("content-type")).toMatch(/^application\/problem\+json/)
  const problem = (await response.json()) as Record<string, unknown>
  expect(problem["status"]).toBe(response.status)
  expect(JSON.stringify(problem)).not.toMatch(/node_modules|\.ts:\d+|at Object/)
  return problem
}

/** Writes bytes to the server as they are, and reads until it closes. */
const rawExchange = (port: number, bytes: string | Uint8Array): Promise<string> =>
  new Promise((resolve) => {
    const chunks: Array<Buffer> = []
    const socket = connect(port, "127.0.0.1", () => socket.end(bytes))
    socket.on("data", (chunk) => chunks.push(chunk))
    socket.on("error", () => resolve(Buffer.concat(chunks).toString("latin1")))
    socket.on("close", () => resolve(Buffer.concat(chunks).toString("latin1")))
  })

describe("the published contract", () => {
  it("is the golden file", async () => {
    await expect(`${JSON.stringify(openApiDocument(), null, 2)}\n`).toMatchFileSnapshot(
      "../../golden/openapi.json",
      "the OpenAPI document has changed: read the difference as a client would, note it in docs/changes, then run " +
        "`npx vitest run -u test/services/inspect/Api.test.ts` and commit test/golden/openapi.json"
    )
  })

  it("is served, is OpenAPI 3.1, and names a problem for every failure", async () => {
    const response = await fetch(`${surface.url}/openapi.json`)
    const document = (await response.json()) as ReturnType<typeof openApiDocument>
    expect(document.openapi).toBe("3.1.0")
    for (const path of Object.values(document.paths)) {
      for (const { responses } of Object.values(path)) {
        for (const [status, { content }] of Object.entries(responses)) {
          if (Number(status) < 400 || status === "503") continue
          expect(Object.keys(content ?? {})).toEqual(["application/problem+json"])
        }
      }
    }
  })

  it("has every address that the design fixes", () => {
    const paths = Object.keys(openApiDocument().paths)
    for (const path of [
      "/v1/events",
      "/v1/score",
      "/v1/devices",
      "/v1/devices/{id}",
      "/v1/devices/{id}/quarantine",
      "/v1/devices/{id}/release",
      "/v1/devices/{id}/override",
      "/v1/devices/{id}/label",
      "/v1/cells",
      "/v1/cells/{stream}/{partition}",
      "/v1/regions",
      "/v1/runners",
      "/v1/models",
      "/v1/models/{digest}",
      "/v1/incidents",
      "/v1/alerts",
      "/v1/streams",
      "/v1/deadletters",
      "/livez",
      "/readyz",
      "/metrics"
    ]) {
      expect(paths).toContain(path)
    }
  })

  it("has a reference page that loads nothing from elsewhere", async () => {
    const page = await fetch(`${surface.url}/docs`)
    expect(page.status).toBe(200)
    expect(page.headers.get("content-security-policy")).toContain("connect-src 'self'")
    expect(await page.text()).not.toMatch(/<(?:script|link)[^>]+(?:src|href)="https?:/)
    const home = await fetch(`${surface.url}/`, { redirect: "manual" })
    expect([home.status, home.headers.get("location")]).toEqual([302, "/docs"])
  })
})

describe("an address that can't be answered", () => {
  it("is a 404 problem that names the request", async () => {
    const response = await fetch(`${surface.url}/v1/nothing?x=1`)
    expect(response.status).toBe(404)
    expect(await problemOf(response)).toMatchObject({
      type: "urn:groundstate:problem:not-found",
      instance: "/v1/nothing"
    })
  })

  it("is a 405 problem with Allow where only the method is wrong", async () => {
    const response = await fetch(`${surface.url}/v1/events`, { method: "DELETE" })
    expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"])
    await problemOf(response)
    const options = await fetch(`${surface.url}/v1/devices/a`, { method: "OPTIONS" })
    expect([options.status, options.headers.get("allow")]).toEqual([204, "GET, HEAD"])
  })

  it("answers HEAD as it would GET, without the body", async () => {
    const response = await fetch(`${surface.url}/v1/streams`, { method: "HEAD" })
    expect([response.status, await response.text()]).toEqual([200, ""])
  })

  it.each([
    ["/v1/devices/%zz", 400],
    ["/v1/devices/%ff", 400],
    ["/v1/devices/a%00b", 400],
    ["/v1/devices?prefix=%e0%a4%a", 400],
    ["/v1/devices?limit=0", 400],
    ["/v1/devices?limit=1001", 400],
    ["/v1/devices?limit=many", 400],
    ["/v1/devices?state=odd", 400],
    ["/v1/devices?cursor=AAAA", 400],
    ["/v1/devices?stream=nothing", 404],
    ["/v1/devices?stream=NOT+A+NAME", 400],
    ["/v1/cells/flows/4", 404],
    ["/v1/cells/flows/-1", 400],
    ["/v1/cells/flows/x", 400],
    ["/v1/regions/elsewhere", 404],
    ["/v1/runners/nobody", 404],
    ["/v1/regions/elsewhere/events", 404],
    ["/v1/regions/local/events?kind=odd", 400],
    ["/v1/regions/local/events?cursor=x", 400],
    ["/v1/models/sha256:no", 400],
    [`/v1/models/sha256:${"00".repeat(32)}`, 404],
    ["/v1/incidents/none", 404],
    ["/v1/incidents?status=odd", 400],
    ["/v1/alerts/none", 404],
    ["/v1/streams/none", 404],
    ["/v1/deadletters/none", 404],
    ["/v1/deadletters?cursor=!!", 400],
    ["/v1/deadletters?reason=odd", 400],
    [`/v1/devices/${"x".repeat(600)}`, 400],
    [`/${"x".repeat(9_000)}`, 414]
  ])("is a problem with its status: %.60s", async (path, status) => {
    const response = await fetch(surface.url + path)
    expect(response.status).toBe(status)
    await problemOf(response)
  })

  it("names each parameter that has not the declared form", async () => {
    const problem = await problemOf(await fetch(`${surface.url}/v1/devices?limit=0`))
    expect(problem["errors"]).toEqual([expect.objectContaining({ field: "limit" })])
  })
})

describe("what Node's parser refuses", () => {
  it("is a problem too: headers too large", async () => {
    const answer = await rawExchange(
      surface.port,
      `GET / HTTP/1.1\r\nHost: localhost\r\nA: ${"a".repeat(20_000)}\r\n\r\n`
    )
    expect(answer).toMatch(/^HTTP\/1\.1 431 /)
    expect(answer).toContain("application/problem+json")
  })

  it("is a problem too: bytes that are not HTTP", async () => {
    const answer = await rawExchange(surface.port, "\x16\x03\x01\x00 hello\r\n\r\n")
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    expect(answer).toContain("urn:groundstate:problem:malformed-request")
  })
})

describe("every answer", () => {
  it("may not be run, framed, sniffed or kept", async () => {
    for (const path of ["/v1/streams", "/nothing", "/livez"]) {
      const { headers } = await fetch(surface.url + path)
      expect(headers.get("x-content-type-options")).toBe("nosniff")
      expect(headers.get("content-security-policy")).toContain("default-src 'none'")
      expect(headers.get("cache-control")).toBe("no-store")
    }
  })

  it("is counted by route template, never by the address itself", async () => {
    await fetch(`${surface.url}/v1/devices/some-device?stream=flows`)
    const text = await (await fetch(`${surface.url}/metrics`)).text()
    expect(text).toContain('route="/v1/devices/:id",method="GET",status="404"')
    expect(text).not.toContain("some-device")
  })
})

describe("the probes", () => {
  it("are not ready before any part has said so, and name each part with its reason", async () => {
    expect((await fetch(`${surface.url}/readyz`)).status).toBe(503)
    const health = await surface.runtime.runPromise(Health)
    health.report("log", { ready: true, reason: null })
    health.report("database", { ready: false, reason: "no connection" })
    health.report("collector", { ready: false, reason: "away", required: false })
    const response = await fetch(`${surface.url}/readyz`)
    expect(response.status).toBe(503)
    expect(await response.json()).toEqual({
      ready: false,
      components: [
        { component: "collector", ready: false, required: false, reason: "away" },
        { component: "database", ready: false, required: true, reason: "no connection" },
        { component: "log", ready: true, required: true, reason: null }
      ]
    })
    health.report("database", { ready: true, reason: null })
    expect((await fetch(`${surface.url}/readyz`)).status).toBe(200)
  })

  it("are alive while nothing waits", async () => {
    const response = await fetch(`${surface.url}/livez`)
    expect([response.status, await response.json()]).toEqual([200, { live: true, stuck: [] }])
  })

  it("give metrics in the Prometheus text format", async () => {
    const response = await fetch(`${surface.url}/metrics`)
    expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/)
    expect(await response.text()).toContain("groundstate_event_loop_delay_seconds")
  })
})

describe("questions about what runs", () => {
  const get = async (path: string) =>
    (await fetch(surface.url + path)).json() as Promise<Record<string, never>>

  it("list the cells of every stream", async () => {
    const { items, unreachable } = (await get("/v1/cells")) as unknown as {
      items: Array<object>
      unreachable: []
    }
    expect([items.length, unreachable]).toEqual([6, []])
    expect(await get("/v1/cells/flows/3")).toMatchObject({ stream: "flows", partition: 3, lag: 2, epoch: 3 })
  })

  it("tell a stream as it was declared", async () => {
    expect(await get("/v1/streams/flows")).toMatchObject({
      name: "flows",
      topic: "flows",
      partitions: 4,
      definition: { lateness: "60000ms", alerts: { budget: "1 in 10000 events" } }
    })
  })

  it("tell a runner that is alone, with every cell", async () => {
    const alone = {
      id: "runner-1",
      address: null,
      state: "alive",
      heartbeatAgeSeconds: 0,
      cells: ["flows/0", "flows/1", "flows/2", "flows/3", "clouds/0", "clouds/1"]
    }
    expect(await get("/v1/runners")).toMatchObject({ items: [alone] })
    expect(await get("/v1/runners/runner-1")).toMatchObject(alone)
  })

  it("tell regions, models, incidents and alerts", async () => {
    expect(await get("/v1/regions/local")).toMatchObject({ region: "local", health: "healthy" })
    expect(await get(`/v1/models/sha256:${"ab".repeat(32)}`)).toMatchObject({ state: "active" })
    expect(await get("/v1/incidents/inc-flows.0.1.energy")).toMatchObject({
      incident: { device: "pump-1" },
      alerts: [{ id: "flows.0.2.energy" }, { id: "flows.0.1.energy" }]
    })
    expect(await get("/v1/alerts/flows.0.1.energy")).toMatchObject({ offset: 1 })
  })

  it("take commands to models", async () => {
    const post = (path: string, body: unknown) =>
      fetch(surface.url + path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body)
      })
    const at = `/v1/models/sha256:${"ab".repeat(32)}`
    expect((await post(`${at}/activate`, { stream: "flows" })).status).toBe(200)
    expect((await post(`${at}/activate`, { stream: "nothing" })).status).toBe(404)
    expect((await post(`${at}/activate`, {})).status).toBe(400)
    expect((await post(`${at}/retire`, {})).status).toBe(200)
  })
})

describe("stopping", () => {
  it("lets the port go", async () => {
    const other = await startSurface()
    await other.stop()
    await expect(fetch(`${other.url}/livez`)).rejects.toThrow()
  })

  it("finishes a request that runs", async () => {
    const world = makeWorld()
    world.cells = "silent"
    const other = await startSurface({ world, streams: ["flows"] })
    const answer = fetch(`${other.url}/v1/score`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ device: "a", ts: 1 })
    })
    while ((world.topics.get("flows") ?? []).flat().length === 0) await fetch(`${other.url}/livez`)
    const stopping = other.stop()
    const response = await answer
    expect([response.status, ((await response.json()) as { fallback: boolean }).fallback]).toEqual([
      200,
      true
    ])
    await stopping
  })
})
