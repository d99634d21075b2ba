import { describe, expect, it } from "vitest"
import { makeRandom } from "../../../../src/services/train/random.ts"
import type { JudgedRow } from "../../../../src/services/train/report/gather.ts"
import { gather, judged, pageOf } from "./judgedRows.ts"

/** Rows whose energies are those of the calibration, one in fifty an anomaly that lies higher; a minute apart. */
function* rowsOf(count: number): Generator<JudgedRow> {
  const random = makeRandom(3).uniform
  for (let row = 1; row <= count; row++) {
    const anomaly = row % 50 === 0
    const energy = random() + (anomaly ? 2 * random() : 0)
    const features = Float32Array.of(energy, random(), row)
    yield judged(row, energy, anomaly, { features, time: 1_760_000_000_000 + row * 60_000 })
  }
}

const voidTags = new Set(["meta"])

/** Elements in the order of their start tags; throws where a tag is not closed or closes another. */
const elementsOf = (page: string): ReadonlyArray<{ readonly name: string; readonly attributes: string }> => {
  const open: Array<string> = []
  const found: Array<{ name: string; attributes: string }> = []
  for (const [whole, slash, name, attributes, closed] of page.matchAll(
    /<(\/?)([a-zA-Z][a-zA-Z0-9]*)((?:\s+[a-zA-Z-]+(?:="[^"<>]*")?)*)\s*(\/?)>/g
  )) {
    if (slash === "/") {
      const last = open.pop()
      if (last !== name) throw new Error(`${whole} where </${last}> was expected`)
      continue
    }
    found.push({ name, attributes })
    if (closed !== "/" && !voidTags.has(name)) open.push(name)
  }
  if (open.length > 0) throw new Error(`never closed: ${open.join(", ")}`)
  return found
}

const hostile = `"><script>alert('1')</script><img src=x onerror=alert(2)>&\u0000\u202e`

const hostilePage = () => {
  const rows = [...rowsOf(2_000)].map((row) => (row.anomaly ? { ...row, label: hostile } : row))
  const gathered = gather(rows, hostile)
  const contributions = [
    { feature: hostile, energy: 2, observed: hostile, expected: 1e-9 },
    { feature: "quiet", energy: -1, observed: null, expected: hostile.repeat(1_000) }
  ]
  return pageOf(
    { ...gathered, timeline: gathered.timeline && { ...gathered.timeline, unit: "number" } },
    {
      model: { name: hostile, digest: `sha256:${"1".repeat(64)}`, step: "fast", trainedRows: 5 },
      input: `${hostile}.csv`,
      label: hostile,
      normalLabels: [hostile],
      missingColumns: [hostile],
      misses: gathered.misses.map((row) => ({ ...row, contributions })),
      falseAlarmRows: gathered.falseAlarms.map((row) => ({ ...row, contributions }))
    }
  )
}

describe("the page", () => {
  it("is well-formed, whatever names and values the table has", () => {
    const names = elementsOf(hostilePage()).map(({ name }) => name)
    expect(names.slice(0, 3)).toEqual(["html", "head", "meta"])
    expect(
      names.filter((name) => ["script", "img", "iframe", "link", "object", "embed"].includes(name))
    ).toEqual([])
  })

  it("writes foreign text as text, cut to a length", () => {
    const page = hostilePage()
    expect(page).toContain("<bdi>&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;")
    expect(page).not.toContain("<script")
    expect(page).not.toContain("<img")
    expect(page).not.toContain("\u0000")
    expect(page.length).toBeLessThan(400_000)
  })

  it("loads nothing, runs nothing and forbids both", () => {
    const page = pageOf(gather(rowsOf(2_000), "ts"))
    expect(page).not.toMatch(/https?:|\bsrc=|\bhref=|url\(|@import|\son[a-z]+=/)
    expect(page).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`)
  })

  it("says what each drawing shows, and has its figures as a table", () => {
    const page = pageOf(gather(rowsOf(2_000), "ts"))
    const drawings = page.match(/<svg [^>]*role="img"[^>]*>/g) ?? []
    expect(drawings.length).toBe(5)
    for (const drawing of drawings) {
      const [title, description] = /aria-labelledby="(\S+) (\S+)"/.exec(drawing)?.slice(1) ?? []
      expect(page).toMatch(
        new RegExp(`<title id="${title}">[^<]+</title><desc id="${description}">[^<]+</desc>`)
      )
    }
    expect(page.match(/<summary>The figures as a table<\/summary>/g)?.length).toBe(5)
    const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id)
    expect(new Set(ids).size).toBe(ids.length)
    expect(page).toContain("prefers-color-scheme:dark")
  })

  it("names areas in the legends, and model, threshold and counts at its head", () => {
    const page = pageOf(gather(rowsOf(2_000)))
    expect(page).toContain("this model, AUC 0.9000")
    expect(page).toContain("this model, AP 0.8000")
    expect(page).toContain(`<code>sha256:${"0".repeat(64)}</code>`)
    expect(page).toContain("7 of 10 anomalies")
    expect(page).toContain("1 of 90 normal rows")
    expect(page).not.toContain("Timeline")
  })

  it("writes no number that is none", () => {
    for (const page of [pageOf(gather(rowsOf(200_000), "ts")), pageOf(gather(rowsOf(50))), hostilePage()])
      expect(page).not.toMatch(/NaN|Infinity|undefined/)
  })

  it("says so where nothing was missed", () => {
    const clean = gather([judged(1, 0.1, false), judged(2, 0.2, false), judged(3, 9, true)])
    const page = pageOf(clean)
    expect(page).toContain("No anomaly was missed.")
    expect(page).toContain("No normal row raised an alarm.")
    elementsOf(page)
  })

  it("does not grow with the rows", () => {
    const some = pageOf(gather(rowsOf(20_000), "ts")).length
    const many = pageOf(gather(rowsOf(200_000), "ts")).length
    expect(many).toBeLessThan(300_000)
    expect(many).toBeLessThan(1.3 * some)
  })
})
