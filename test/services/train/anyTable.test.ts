// Tables as people have them: whatever stands in them, a row in is a row out with a finite score, or a refusal that helps.
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { deepestStep } from "../../../src/schema/model/Manifest.ts"
import { readBundle } from "../../../src/services/model/ModelStore.ts"
import { OnnxScorer } from "../../../src/services/score/OnnxScorer.ts"
import { Scorer } from "../../../src/services/score/Scorer.ts"
import { makeRandom } from "../../../src/services/train/random.ts"
import { scoreTable } from "../../../src/services/train/scoreTable.ts"
import { trainTable } from "../../../src/services/train/trainTable.ts"
import { temporaryFolder } from "../../support/smallModel.ts"

const scorer = OnnxScorer.layerWith({ inlineCostMax: 1e9, batchRowsMax: 1024, workerTimeoutMillis: 60_000 })
const random = makeRandom(21)
const normal = () => random.normal()

interface Shape {
  readonly separator?: string
  readonly end?: string
  readonly mark?: string
}

const csv = (
  count: number,
  header: ReadonlyArray<string> | undefined,
  row: (at: number) => ReadonlyArray<unknown>,
  { separator = ",", end = "\n", mark = "" }: Shape = {}
) =>
  mark +
  [
    ...(header === undefined ? [] : [header.join(separator)]),
    ...Array.from({ length: count }, (_, at) => row(at).join(separator))
  ].join(end) +
  end

/** Trains on a text, and scores texts with the model; answers the lines of each, without header and row number. */
const trained = (text: string, energy: "fast" | "full" = "fast") =>
  Effect.gen(function* () {
    const dir = yield* temporaryFolder
    const input = join(dir, "in.csv")
    writeFileSync(input, text)
    const summary = yield* trainTable({ input, output: join(dir, "model"), energy })
    const bundle = yield* readBundle(join(dir, "model"))
    const model = yield* Effect.flatMap(Scorer, ({ load }) => load(bundle)).pipe(Effect.provide(scorer))
    const step = deepestStep(bundle.manifest)
    let files = 0
    const score = (rows: string) =>
      Effect.gen(function* () {
        const [from, to] = ["in", "out"].map((name) => join(dir, `${name}${files}.csv`))
        files++
        writeFileSync(from, rows)
        yield* scoreTable({
          manifest: bundle.manifest,
          score: (table, count, energies) => model.score(step, table, count, energies),
          input: from,
          output: to
        })
        return readFileSync(to, "utf8")
          .trimEnd()
          .split("\n")
          .slice(1)
          .map((line, at) => {
            const [row, ...rest] = line.split(",")
            expect(row).toBe(String(at + 1))
            for (const cell of rest) expect(Number.isFinite(Number(cell)) && cell !== "").toBe(true)
            return rest.join(",")
          })
      })
    return { summary, score, explain: (row: Float32Array) => model.explain(step, row, 1) }
  })

const tables: Readonly<Record<string, () => readonly [text: string, rows: number]>> = {
  "50 rows": () => [csv(50, ["x", "k"], (at) => [normal(), "abc"[at % 3]]), 50],
  "500 rows of one column": () => [csv(500, ["x"], () => [normal()]), 500],
  "no header": () => [csv(300, undefined, (at) => [normal(), normal(), `u${at % 4}`]), 300],
  "quotes, separators and line breaks in cells": () => [
    csv(300, ["a", "q", "n"], (at) => [normal(), `"he said ""${at % 3}"", twice"`, `"two\nlines ${at % 2}"`]),
    300
  ],
  "semicolons and decimal commas": () => [
    csv(300, ["a", "b", "c"], (at) => [String(normal()).replace(".", ","), normal(), `t${at % 3}`], {
      separator: ";"
    }),
    300
  ],
  tabs: () => [csv(300, ["a", "b"], () => [normal(), normal()], { separator: "\t" }), 300],
  "a byte order mark and CRLF": () => [
    csv(300, ["a", "b"], () => [normal(), normal()], { end: "\r\n", mark: "\ufeff" }),
    300
  ],
  "columns without values": () => [csv(300, ["a", "b", "c"], () => [normal(), "", "NA"]), 300],
  "words among numbers, booleans, dates, identifiers": () => [
    csv(400, ["a", "b", "when", "id", "x"], (at) => [
      at % 4 === 0 ? `w${at % 3}` : at % 5,
      at % 3 === 0 ? "true" : "False",
      `2024-01-${10 + (at % 20)} 10:00:00`,
      `u${at}`,
      normal()
    ]),
    400
  ],
  "heavy tails": () => [
    csv(600, ["a", "b", "c"], () => [Math.exp(4 * normal()), 1 / (1e-9 + random.uniform()), normal() ** 9]),
    600
  ],
  "codes of categories": () => [
    csv(600, ["code", "x"], () => [[3, 7, 12, 80][random.below(4)], normal()]),
    600
  ],
  "few rows over and over": () => [csv(900, ["a", "b"], (at) => [at % 3, `z${at % 3}`]), 900],
  "broken rows": () => [csv(300, ["a", "b"], (at) => (at % 40 === 5 ? [1] : [normal(), normal()])), 300]
}

describe("a table", () => {
  it.scoped.each(Object.keys(tables))("with %s is learned from and scored, a row for a row", (name) =>
    Effect.gen(function* () {
      const [text, rows] = tables[name]()
      const { score } = yield* trained(text)
      expect(yield* score(text)).toHaveLength(rows)
    })
  )

  it.scoped(
    "of ten thousand columns is learned from",
    () =>
      Effect.gen(function* () {
        const names = Array.from({ length: 10_000 }, (_, at) => `c${at}`)
        const text = csv(60, names, () => names.map(() => normal().toFixed(2)))
        const { score, summary, explain } = yield* trained(text)
        expect(summary.columns).toHaveLength(10_000)
        expect(yield* score(text)).toHaveLength(60)
        // Five columns far out are a fifth of the squared distance that ten thousand usual ones make.
        const moved = [17, 460, 2_900, 7_003, 9_999]
        const row = Float32Array.from(names, () => normal())
        for (const column of moved) row[column] = 30
        const [{ contributions }] = yield* explain(row)
        const first = [...contributions.keys()]
          .sort((a, b) => contributions[b] - contributions[a])
          .slice(0, 5)
        expect(first.sort((a, b) => a - b)).toEqual(moved)
      }),
    120_000
  )
})

describe("a row's score", () => {
  const header = ["x", "y", "k", "n"]
  const rowOf = (at: number) => [normal(), 5 + 2 * normal(), "abc"[at % 3], Math.exp(8 * random.uniform())]

  it.scoped(
    "is the row's and the model's alone: in another order, in another file, by itself, to the bit",
    () =>
      Effect.gen(function* () {
        const { score } = yield* trained(csv(400, header, rowOf), "full")
        const rows = Array.from({ length: 1_500 }, (_, at) => rowOf(at).join(","))
        const file = (of: ReadonlyArray<string>) => `${header.join(",")}\n${of.join("\n")}\n`
        const together = yield* score(file(rows))
        expect(yield* score(file([...rows].reverse()))).toEqual([...together].reverse())
        expect(yield* score(file(rows.slice(700, 731)))).toEqual(together.slice(700, 731))
        for (const at of [0, 3, 1_499]) expect(yield* score(file([rows[at]]))).toEqual([together[at]])
      }),
    120_000
  )

  it.scoped(
    "is finite and high for what was never seen, and the same where columns change places or are added",
    () =>
      Effect.gen(function* () {
        const { score } = yield* trained(csv(600, header, rowOf))
        const usual = yield* score("x,y,k,n\n0,5,a,90\n0.1,5,b,90\n")
        const least = Math.max(...usual.map((line) => Number(line.split(",")[0])))
        const strange = ["NaN,inf,zzz,-inf", "1e308,-1e308,a,1e308", "9e99,5,b,90", ",,,", "x,y,z,w", "0,5"]
        for (const line of yield* score(`x,y,k,n\n${strange.join("\n")}\n`)) {
          expect(Number(line.split(",")[0])).toBeGreaterThan(least)
        }
        expect(yield* score("n,extra,k,y,x\n90,7,a,5,0\n90,7,b,5,0.1\n")).toEqual(usual)
        const [lacking] = yield* score("x,y,n\n0,5,90\n")
        expect(lacking).toEqual((yield* score("x,y,k,n\n0,5,,90\n"))[0])
      })
  )

  it.scoped.each([3, 5, 8])(
    "of a row like the one value that training had is low, of any other higher (seed %i)",
    (seed) =>
      Effect.gen(function* () {
        const own = makeRandom(seed)
        const { score } = yield* trained(
          csv(300, ["c", "x"], () => [7, own.normal()]),
          "full"
        )
        const [same, other] = (yield* score("c,x\n7,0\n8,0\n")).map((line) => Number(line.split(",")[0]))
        expect(other).toBeGreaterThan(same + 1)
      })
  )

  it.scoped("isn't decided by a column that identifies rows", () =>
    Effect.gen(function* () {
      const { score } = yield* trained(
        csv(400, ["user_id", "at", "x"], (at) => [random.below(1e9), 1_700_000_000 + 7 * at, normal()])
      )
      const [seen, later] = yield* score("user_id,at,x\n5,1700000000,0\n999999999999,1900000000,0\n")
      expect(later).toBe(seen)
    })
  )
})
