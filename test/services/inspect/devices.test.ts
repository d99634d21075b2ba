// /v1/devices: pages over all cells, one device joined from cell and actor, decisions with their conditions.
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Metrics } from "../../../src/services/observe/Metrics.ts"
import { DEVICE_MAILBOX } from "./actorsOf.ts"
import { makeWorld, type Surface, startSurface } from "./surface.ts"

const odd = [
  "a/b",
  "a b",
  "ünïcode 設備",
  "100%",
  "%2F",
  "q?x=1&y#z",
  "a;b",
  "a+b",
  "..x",
  "c:\\d",
  "x".repeat(512)
]
const plain = Array.from({ length: 57 }, (_, n) => `pump-${n}`)

let surface: Surface
beforeAll(async () => {
  surface = await startSurface({ streams: ["flows"], world: makeWorld([...odd, ...plain]) })
})
afterAll(() => surface.stop())

const at = (device: string, rest = "") => `${surface.url}/v1/devices/${encodeURIComponent(device)}${rest}`

const decide = (device: string, verb: string, body?: unknown, headers: Record<string, string> = {}) =>
  fetch(at(device, `/${verb}`), {
    method: "POST",
    headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })

interface Page {
  readonly items: ReadonlyArray<{ readonly device: string; readonly partition: number }>
  readonly next: string | null
}

const walk = async (
  query: string
): Promise<{ readonly devices: Array<string>; readonly pages: Array<number> }> => {
  const devices: Array<string> = []
  const pages: Array<number> = []
  for (let cursor: string | null = ""; cursor !== null; ) {
    const response: Response = await fetch(
      `${surface.url}/v1/devices?${query}${cursor === "" ? "" : `&cursor=${cursor}`}`
    )
    expect(response.status).toBe(200)
    const page = (await response.json()) as Page
    devices.push(...page.items.map(({ device }) => device))
    pages.push(page.items.length)
    cursor = page.next
  }
  return { devices, pages }
}

describe("the list", () => {
  it("has every device of every cell once, whatever the size of a page", async () => {
    for (const limit of [1, 7, 1_000]) {
      const { devices, pages } = await walk(`limit=${limit}`)
      expect([...devices].sort()).toEqual([...odd, ...plain].sort())
      expect(Math.max(...pages)).toBeLessThanOrEqual(limit)
    }
  })

  it("keeps to a prefix", async () => {
    const { devices } = await walk("prefix=pump-1&limit=3")
    expect(devices.sort()).toEqual(plain.filter((device) => device.startsWith("pump-1")).sort())
    expect((await walk("prefix=a%2Fb")).devices).toEqual(["a/b"])
    expect((await walk("prefix=a//b")).devices).toEqual([])
  })

  it("has those that matter by state", async () => {
    await decide("pump-9", "quarantine", { reason: "odd" })
    const { devices } = await walk("state=quarantined")
    expect(devices).toContain("pump-9")
    await decide("pump-9", "release")
  })

  it("refuses a cursor of another list", async () => {
    const cursor = Buffer.from(JSON.stringify({ stream: "gone", partition: 9, after: 1 })).toString(
      "base64url"
    )
    expect((await fetch(`${surface.url}/v1/devices?cursor=${cursor}`)).status).toBe(400)
  })
})

describe("one device", () => {
  it.each(odd.map((device) => [device.slice(0, 20), device] as const))(
    "is found under its own name: %s",
    async (_, device) => {
      const response = await fetch(at(device))
      expect(response.status).toBe(200)
      expect(response.headers.get("etag")).toBe('"0"')
      expect(await response.json()).toMatchObject({
        device,
        stream: "flows",
        owner: "runner-1",
        epoch: 3,
        cell: { device, events: 7, baselines: [{ signal: "bytesIn" }] },
        record: { device, version: 0, incident: null }
      })
    }
  )

  it("is a 404 where no cell has seen it", async () => {
    expect((await fetch(at("nobody"))).status).toBe(404)
    expect((await decide("nobody", "quarantine", { reason: "" })).status).toBe(404)
  })
})

describe("a decision", () => {
  it("answers with the record and its new ETag", async () => {
    const response = await decide("pump-1", "quarantine", { reason: "leak", by: "kim" })
    expect([response.status, response.headers.get("etag")]).toEqual([200, '"1"'])
    expect(await response.json()).toMatchObject({ version: 1, quarantine: { reason: "leak", by: "kim" } })
    const released = await decide("pump-1", "release")
    expect(await released.json()).toMatchObject({ version: 2, quarantine: null })
  })

  it("reaches a device whose name has slashes", async () => {
    expect((await decide("a/b", "label", { label: "false-alarm" })).status).toBe(200)
  })

  it("is made only on the version that it was made for", async () => {
    const stale = await decide("pump-2", "label", { label: "unsure" }, { "if-match": '"7"' })
    expect(stale.status).toBe(412)
    expect(await stale.json()).toMatchObject({ type: "urn:groundstate:problem:version-mismatch" })
    expect((await decide("pump-2", "label", { label: "unsure" }, { "if-match": '"0"' })).status).toBe(200)
    expect((await decide("pump-2", "label", { label: "unsure" }, { "if-match": "*" })).status).toBe(200)
    expect((await decide("pump-2", "label", { label: "unsure" }, { "if-match": "seven" })).status).toBe(400)
  })

  it("carries the caller's key as its command, or one of its own", async () => {
    await decide("pump-3", "override", { shift: 2, until: 1 }, { "idempotency-key": "key-1" })
    expect(surface.world.commands.at(-1)).toEqual({ name: "Override", command: "key-1" })
    await decide("pump-3", "override", { shift: 2, until: 1 })
    expect(surface.world.commands.at(-1)?.command).toMatch(/^[0-9a-f-]{36}$/)
  })

  it.each([
    ["override", {}, 400],
    ["override", { until: "tomorrow" }, 400],
    ["override", { until: 1, shift: 1e9 }, 400],
    ["label", { label: "maybe" }, 400],
    ["quarantine", { reason: 7 }, 400],
    ["quarantine", { reasons: "typo" }, 400],
    ["quarantine", { reason: "x".repeat(70_000) }, 413]
  ])("needs its declared form: %s", async (verb, body, status) => {
    const response = await decide("pump-4", verb, body)
    expect(response.status).toBe(status)
    expect(response.headers.get("content-type")).toMatch(/^application\/problem\+json/)
  })

  it("needs JSON", async () => {
    const send = (type: string, body: string) =>
      fetch(at("pump-4", "/quarantine"), { method: "POST", headers: { "content-type": type }, body })
    expect((await send("text/plain", "{}")).status).toBe(415)
    expect((await send("application/json", "{")).status).toBe(400)
    expect((await send("application/json", "null")).status).toBe(400)
  })
})

describe("a cell that can't answer", () => {
  it("makes its devices unavailable, with a time to ask again", async () => {
    const world = makeWorld(["pump-1"])
    world.cells = "away"
    const other = await startSurface({ streams: ["flows"], world })
    const response = await fetch(`${other.url}/v1/devices/pump-1`)
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"])
    await other.stop()
  })
})

describe("an actor that is asked for more than it can queue", () => {
  it("says so with what to do, counts it, and answers all that it took", async () => {
    const { world, runtime } = surface
    let release = () => {}
    world.held = new Promise<void>((resolve) => {
      release = resolve
    })
    const asked = Array.from({ length: 64 }, () => fetch(at("pump-7")))
    // Those that find no room are told within a second, while the others still wait.
    const first = await Promise.race(asked)
    expect([first.status, first.headers.get("retry-after")]).toEqual([503, "1"])
    expect(await first.json()).toMatchObject({
      type: "urn:groundstate:problem:unavailable",
      detail: "The actor has more to do than it can queue; nothing was done. Ask again with the same id."
    })
    world.held = undefined
    release()
    const statuses = (await Promise.all(asked)).map(({ status }) => status)
    expect(new Set(statuses)).toEqual(new Set([200, 503]))
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(DEVICE_MAILBOX)
    const exposition = await runtime.runPromise(Effect.flatMap(Metrics, (metrics) => metrics.exposition))
    const counted = /^groundstate_mailbox_refusals_total\{actor="device"\} (\d+)$/m.exec(exposition)?.[1]
    expect(Number(counted)).toBeGreaterThanOrEqual(statuses.filter((status) => status === 503).length)
    expect((await fetch(at("pump-7"))).status).toBe(200)
  })
})
