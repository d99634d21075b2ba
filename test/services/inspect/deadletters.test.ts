// /v1/deadletters: refused events can be found, read and given to their stream again.
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { DeadLetter, DeadLetterReason } from "../../../src/schema/event/DeadLetter.ts"
import { makeWorld, type Surface, startSurface } from "./surface.ts"

const letter = (
  offset: number,
  reason: DeadLetterReason,
  text: string,
  more: Partial<DeadLetter> = {}
): DeadLetter => {
  const bytes = new TextEncoder().encode(text)
  return {
    id: `flows.1.${offset}`,
    stream: "flows",
    topic: "flows",
    partition: 1,
    offset,
    timestamp: 1_700_000_000_000,
    reason,
    detail: "because",
    attempts: 1,
    bytes,
    size: bytes.length,
    headers: {},
    ...more
  }
}

const good = '{"device":"a","ts":1}'
const letters = [
  letter(0, "bad-json", "{oops"),
  letter(1, "wrong-type", good, { headers: { ce_type: "flow" } }),
  letter(2, "missing-device", '{"ts":1}'),
  letter(3, "id-conflict", good),
  letter(4, "too-large", good, { size: 2_000_000 }),
  letter(5, "bad-json", good, { id: "gone.0.5", stream: "gone", topic: "gone" }),
  ...Array.from({ length: 300 }, (_, n) => letter(100 + n, "bad-time", good))
]

let surface: Surface
beforeAll(async () => {
  const world = makeWorld()
  world.letters.push(...letters)
  surface = await startSurface({ streams: ["flows"], world })
})
afterAll(() => surface.stop())

const get = async (path: string) => {
  const response = await fetch(`${surface.url}/v1/deadletters${path}`)
  expect(response.status).toBe(200)
  return (await response.json()) as { items: Array<{ id: string; bytes: string }>; next: string | null }
}

const replay = (body: unknown) =>
  fetch(`${surface.url}/v1/deadletters/replay`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body)
  })

describe("the list", () => {
  it("has all of them once over its pages", async () => {
    const ids: Array<string> = []
    for (let cursor: string | null = ""; cursor !== null; ) {
      const page = await get(`?limit=90${cursor === "" ? "" : `&cursor=${cursor}`}`)
      ids.push(...page.items.map(({ id }) => id))
      cursor = page.next
    }
    expect(ids).toEqual(letters.map(({ id }) => id))
  })

  it("keeps to a reason, a topic, a stream", async () => {
    expect((await get("?reason=bad-json")).items.map(({ id }) => id)).toEqual(["flows.1.0", "gone.0.5"])
    expect((await get("?reason=bad-json&topic=gone")).items.map(({ id }) => id)).toEqual(["gone.0.5"])
    expect((await get("?reason=bad-json&stream=flows")).items.map(({ id }) => id)).toEqual(["flows.1.0"])
  })

  it("has the original bytes", async () => {
    const response = await fetch(`${surface.url}/v1/deadletters/flows.1.0`)
    const { bytes } = (await response.json()) as { bytes: string }
    expect(Buffer.from(bytes, "base64").toString()).toBe("{oops")
  })
})

describe("a replay", () => {
  it("tells in a dry run what would decode now, and appends nothing", async () => {
    const ids = letters.slice(0, 6).map(({ id }) => id)
    const report = (await (await replay({ ids, dryRun: true })).json()) as {
      appended: number
      results: Array<{ outcome: string }>
    }
    expect(report.appended).toBe(0)
    expect(report.results.map(({ outcome }) => outcome)).toEqual([
      "would-fail",
      "would-decode",
      "would-fail",
      "unknown",
      "cut",
      "unserved"
    ])
    expect(surface.world.topics.get("flows")?.flat()).toEqual([])
  })

  it("appends the original bytes and headers to the partition that they came from", async () => {
    const response = await replay({ filter: { stream: "flows", reason: "wrong-type" } })
    expect(await response.json()).toMatchObject({
      dryRun: false,
      appended: 1,
      results: [{ id: "flows.1.1", outcome: "appended", partition: 1, offset: 0 }]
    })
    const [record] = surface.world.topics.get("flows")?.[1] ?? []
    expect(Buffer.from(record.value as Uint8Array).toString()).toBe(good)
    expect(record.headers).toEqual({ ce_type: "flow" })
  })

  it("appends nothing where an id names none, and says which", async () => {
    const response = await replay({ ids: ["flows.1.1", "flows.9.9"] })
    expect(response.status).toBe(422)
    expect(await response.json()).toMatchObject({
      errors: [{ field: "ids", detail: "no dead letter flows.9.9" }]
    })
  })

  it("needs ids or a filter, not both", async () => {
    for (const body of [{}, { ids: ["a"], filter: {} }, { ids: [] }]) {
      expect((await replay(body)).status).toBe(400)
    }
  })
})
