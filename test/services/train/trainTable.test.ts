import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { deepestStep } from "../../../src/schema/model/Manifest.ts"
import { StreamDefinition } from "../../../src/schema/stream/StreamDefinition.ts"
import { planStream, type StreamPlan } from "../../../src/schema/stream/StreamPlan.ts"
import { ModelStore, readBundle } from "../../../src/services/model/ModelStore.ts"
import { OnnxScorer } from "../../../src/services/score/OnnxScorer.ts"
import { Scorer } from "../../../src/services/score/Scorer.ts"
import { makeRandom } from "../../../src/services/train/random.ts"
import { evaluateTable, scoreTable } from "../../../src/services/train/scoreTable.ts"
import { type TrainTableOptions, trainTable as trainWith } from "../../../src/services/train/trainTable.ts"
import { temporaryFolder } from "../../support/smallModel.ts"

/** `normal` rows of two numbers and a word, then `odd` ones; the last column is the label. */
const table = (normal: number, odd: number, seed = 3) => {
  const random = makeRandom(seed)
  const lines = ["size,delay,proto,label"]
  for (let row = 0; row < normal + odd; row++) {
    const anomaly = row >= normal
    const size = Math.exp(5 + 2 * random.normal()).toFixed(1)
    const delay = (anomaly ? 12 + random.normal() : random.normal()).toFixed(4)
    lines.push(`${size},${delay},${["tcp", "udp", "icmp"][random.below(3)]},${anomaly ? 1 : 0}`)
  }
  return `${lines.join("\n")}\n`
}

const scorer = OnnxScorer.layerWith({ inlineCostMax: 1e9, batchRowsMax: 1024, workerTimeoutMillis: 5_000 })

/** The first stage alone, which takes a tenth of the time, unless a test is about the fusion. */
const trainTable = (options: TrainTableOptions) => trainWith({ energy: "fast", ...options })

const open = (dir: string) =>
  Effect.gen(function* () {
    const bundle = yield* readBundle(dir)
    const model = yield* (yield* Scorer).load(bundle)
    return {
      manifest: bundle.manifest,
      score: (rows: Float32Array, count: number, energies: Float32Array) =>
        model.score(deepestStep(bundle.manifest), rows, count, energies)
    }
  }).pipe(Effect.provide(scorer))

const written = (dir: string, name: string, text: string | Uint8Array) => {
  writeFileSync(join(dir, name), text)
  return join(dir, name)
}

const refusal = (text: string | Uint8Array | undefined, more: Partial<TrainTableOptions> = {}) =>
  Effect.gen(function* () {
    const dir = yield* temporaryFolder
    const input = text === undefined ? join(dir, "none.csv") : written(dir, more.input ?? "in.csv", text)
    const error = yield* Effect.flip(trainTable({ ...more, input, output: join(dir, "out") }))
    expect(error.message).toContain("Nothing was written; ")
    expect(readdirSync(dir).filter((name) => name.includes("out"))).toEqual([])
    return error.reason
  })

describe("training on a table", () => {
  it.scoped("finds its columns, writes a bundle that loads, and tells odd rows from the rest", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder
      const input = written(dir, "in.csv", table(2_000, 0))
      const phases = new Set<string>()
      const summary = yield* trainTable({
        input,
        output: join(dir, "model"),
        label: "label",
        energy: "full",
        progress: (phase) => phases.add(phase)
      })
      expect(summary).toMatchObject({ rows: 2_000, sampled: 2_000, skipped: 0, heldBack: 400, trimmed: 160 })
      expect(summary.columns).toEqual([
        { name: "size", type: "number", log: true },
        { name: "delay", type: "number", log: false },
        { name: "proto", type: "category", log: false },
        { name: "label", type: "ignored", log: false }
      ])
      expect([...phases]).toEqual(["read", "trim", "fit", "calibrate", "write"])
      const model = yield* open(join(dir, "model"))
      expect(model.manifest.graphs.map(({ step }) => step)).toEqual(["deep", "fast"])
      const test = written(dir, "test.csv", table(1_000, 50, 9))
      const metrics = yield* evaluateTable({ ...model, input: test, label: "label" })
      expect(metrics).toMatchObject({ rows: 1_050, anomalies: 50, caught: 50 })
      expect(metrics.rocAuc).toBeGreaterThan(0.999)
      expect(metrics.falseAlarmRate).toBeLessThan(0.025)
    })
  )

  it.scoped("writes the same graphs for the same file and seed", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder
      const input = written(dir, "in.csv", table(600, 0))
      const graphs = yield* Effect.forEach(["a", "b"], (name) =>
        trainTable({ input, output: join(dir, name), seed: 4 }).pipe(
          Effect.map(() =>
            ["fast.onnx", "fast-explain.onnx"].map((file) => readFileSync(join(dir, name, file), "hex"))
          )
        )
      )
      expect(graphs[0]).toEqual(graphs[1])
    })
  )

  it.scoped("reads gzipped JSON lines and columns that a stream definition declares", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder
      const random = makeRandom(2)
      const lines = Array.from({ length: 300 }, (_, at) =>
        JSON.stringify({
          id: `e${at}`,
          net: { bytes: Math.floor(random.uniform() * 9_000) },
          on: at % 2 === 0,
          note: "x"
        })
      )
      const definition = yield* Schema.decodeUnknown(StreamDefinition)({
        stream: "flows",
        source: { topic: "flows" },
        identity: { device: "id" },
        fields: { bytes: { type: "number", scale: "log", path: "net.bytes" }, on: { type: "boolean" } }
      })
      const plan: StreamPlan = planStream(definition)
      const summary = yield* trainTable({
        input: written(dir, "in.jsonl.gz", gzipSync(lines.join("\n"))),
        output: join(dir, "model"),
        definition
      })
      const used = summary.columns.filter((column) => column.type !== "ignored")
      expect(used.map((column) => column.name).sort()).toEqual(["net.bytes", "on"])
      expect(used.find((column) => column.name === "net.bytes")?.log).toBe(plan.numbers[0].log)
    })
  )

  it.scoped(
    "leaves out counters, identifiers and empty columns, and says so; broken rows are named by line",
    () =>
      Effect.gen(function* () {
        const dir = yield* temporaryFolder
        const random = makeRandom(5)
        const lines = Array.from(
          { length: 400 },
          (_, at) => `${at},u-${at},,${random.normal()},${at === 7 ? "oops" : 1 + random.uniform()}`
        )
        lines[20] = "1,2"
        const summary = yield* trainTable({
          input: written(dir, "in.csv", `n,id,void,x,y\n${lines.join("\n")}\n`),
          output: join(dir, "model")
        })
        expect(summary).toMatchObject({ rows: 399, skipped: 1 })
        expect(summary.columns.map((column) => column.type)).toEqual([
          "ignored",
          "ignored",
          "ignored",
          "number",
          "number"
        ])
        expect(summary.notices.join("\n")).toMatch(
          /column n .*\n.*column id .*\n.*column void .*\n.*row 21 \(line 22\): 2 cells.*\n1 cells of numeric columns.*row 8 \(line 9\), column y: "oops" is no number$/
        )
      })
  )

  it.scoped("refuses what nothing can be learned from, and says what to do", () =>
    Effect.gen(function* () {
      expect(yield* refusal(undefined)).toBe("missing-file")
      expect(yield* refusal("")).toBe("no-rows")
      expect(yield* refusal("a,b\n")).toBe("no-rows")
      expect(yield* refusal("a,b\n1,2\n")).toBe("too-few-rows")
      expect(yield* refusal(`a,b\n${"1,2\n".repeat(100)}`)).toBe("only-constants")
      expect(yield* refusal(`a,b\n${"NA,\n".repeat(100)}`)).toBe("all-missing")
      expect(yield* refusal(table(50, 0), { label: "target" })).toBe("no-label-column")
      const wide = Array.from({ length: 20_000 }, (_, at) => `c${at}`).join(",")
      expect(yield* refusal(`${wide}\n${wide.replaceAll("c", "")}\n`)).toBe("too-many-columns")
      expect(yield* refusal("not gzip", { input: "in.csv.gz" })).toBe("unreadable")
    })
  )

  it.scoped("learns from infinities and vast numbers, and loads again", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder
      const random = makeRandom(6)
      const odd = ["inf", "-inf", "1e308", "-1e308"]
      const lines = Array.from({ length: 400 }, (_, at) =>
        [at % 9 === 0 ? odd[at % 4] : random.normal(), random.normal()].join(",")
      )
      yield* trainTable({
        input: written(dir, "in.csv", `a,b\n${lines.join("\n")}\n`),
        output: join(dir, "model")
      })
      const model = yield* open(join(dir, "model"))
      const scored = yield* scoreTable({ ...model, input: join(dir, "in.csv"), output: join(dir, "out.csv") })
      expect(scored.rows).toBe(400)
      expect(readFileSync(join(dir, "out.csv"), "utf8")).not.toMatch(/NaN|Infinity/)
    })
  )

  it.scoped("learns from rows that are all the same but for one, which would be left out", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder
      const input = written(dir, "in.csv", `a,b\n${"1,2\n".repeat(300)}1,3\n${"1,2\n".repeat(100)}`)
      yield* trainTable({ input, output: join(dir, "model"), seed: 2 })
      const model = yield* open(join(dir, "model"))
      yield* scoreTable({
        ...model,
        input: written(dir, "t.csv", "a,b\n1,2\n9,2\n"),
        output: join(dir, "out.csv")
      })
      const [usual, odd] = readFileSync(join(dir, "out.csv"), "utf8").trim().split("\n").slice(1)
      expect(usual).toMatch(/,0$/)
      expect(Number(odd.split(",")[1])).toBeGreaterThan(Number(usual.split(",")[1]))
    })
  )

  it.scoped("replaces a bundle, and leaves any other folder alone", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder
      const input = written(dir, "in.csv", table(300, 0))
      const output = join(dir, "model")
      const before = yield* trainTable({ input, output, seed: 1 })
      const after = yield* trainTable({ input, output, seed: 2 })
      expect(after.digest).not.toBe(before.digest)
      expect((yield* readBundle(output)).digest).toBe(after.digest)
      mkdirSync(join(dir, "mine"))
      written(dir, "mine/notes.txt", "keep")
      const error = yield* Effect.flip(trainTable({ input, output: join(dir, "mine") }))
      expect(error.reason).toBe("output")
      expect(readdirSync(join(dir, "mine"))).toEqual(["notes.txt"])
      expect(readdirSync(dir).sort()).toEqual(["in.csv", "mine", "model"])
    })
  )
})

describe("scoring a table", () => {
  it.scoped("gives each row one line in order, also the broken ones, and no row depends on the others", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder
      const output = join(dir, "model")
      yield* trainTable({ input: written(dir, "in.csv", table(1_000, 0)), output, label: "label" })
      const model = yield* open(output)
      const [header, ...rows] = table(60, 5, 8).trim().split("\n")
      rows[10] = "garbage"
      rows[11] = "x,y,zzz,0"
      const all = yield* scoreTable({
        ...model,
        input: written(dir, "all.csv", `${header}\n${rows.join("\n")}\n`),
        output: join(dir, "all.out")
      })
      expect(all).toMatchObject({ rows: 65, broken: 1, unreadableCells: 2, missingColumns: [] })
      const lines = readFileSync(join(dir, "all.out"), "utf8").trim().split("\n")
      expect(lines[0]).toBe("row,score,energy,pvalue,alert")
      expect(lines.slice(1).map((line) => Number(line.split(",")[0]))).toEqual(rows.map((_, at) => at + 1))
      for (const line of lines.slice(1))
        for (const cell of line.split(",")) expect(Number.isFinite(Number(cell))).toBe(true)
      expect(lines[11].endsWith(",1")).toBe(true)
      for (const line of lines.slice(-5)) expect(line.endsWith(",1")).toBe(true)
      yield* scoreTable({
        ...model,
        input: written(dir, "one.csv", `${header}\n${rows[37]}\n`),
        output: join(dir, "one.out")
      })
      const [, alone] = readFileSync(join(dir, "one.out"), "utf8").trim().split("\n")
      expect(alone.slice(2)).toBe(lines[38].slice(3))
    })
  )

  it.scoped("refuses a table of other columns, and a label that is not there", () =>
    Effect.gen(function* () {
      const dir = yield* temporaryFolder
      yield* trainTable({
        input: written(dir, "in.csv", table(300, 0)),
        output: join(dir, "model"),
        label: "label"
      })
      const model = yield* open(join(dir, "model"))
      const other = written(dir, "other.csv", "p,q\n1,2\n")
      const outcome = yield* Effect.flip(scoreTable({ ...model, input: other, output: join(dir, "out.csv") }))
      expect(outcome).toMatchObject({ _tag: "TableRefused", reason: "wrong-columns" })
      const unlabelled = written(dir, "plain.csv", "size,delay,proto\n1,2,tcp\n")
      expect(
        yield* Effect.flip(evaluateTable({ ...model, input: unlabelled, label: "label" }))
      ).toMatchObject({
        reason: "no-label-column"
      })
      const one = written(dir, "one.csv", "size,delay,proto,label\n1,2,tcp,normal.\n")
      expect(yield* Effect.flip(evaluateTable({ ...model, input: one, label: "label" }))).toMatchObject({
        reason: "no-labels"
      })
      expect(readdirSync(dir)).not.toContain("out.csv")
    })
  )
})

it.scoped("a bundle that was trained can be installed and named", () =>
  Effect.gen(function* () {
    const dir = yield* temporaryFolder
    const summary = yield* trainTable({
      input: written(dir, "in.csv", table(300, 0)),
      output: join(dir, "model")
    })
    const stored = yield* Effect.flatMap(ModelStore, (store) => store.install(join(dir, "model"))).pipe(
      Effect.provide(ModelStore.layerAt(join(dir, "store")))
    )
    expect(stored.digest).toBe(summary.digest)
  })
)
