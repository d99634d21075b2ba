// Labelled series and streams through the product's cell: by baselines, and by models trained on what came before.
import { join } from "node:path"
import { type CellScores, cellScores } from "./cellScores.ts"
import { groundstate } from "./program.ts"

/** Figures by name; shares from 0 to 1 unless the suite says otherwise. */
export type Figures = Readonly<Record<string, number>>

export interface NamedFigures {
  readonly name: string
  readonly figures: Figures
}

/** `baselines`: no model; `fast`: the first stage, the default of `train --features device`; `full`: the fusion. */
export const ways = ["baselines", "fast", "full"] as const
export type Way = (typeof ways)[number]

/** One data set as files of events, without labels, and how their scores are judged. */
export interface Prepared {
  readonly name: string
  /** The stream's definition, a YAML file. */
  readonly stream: string
  /** Events that a model is trained on. */
  readonly training: string
  /** All events in order. */
  readonly input: string
  readonly events: number
  readonly judge: (scores: CellScores) => Figures
  /** Plain peers on the very same rows: they show that the protocol is that of the stored figures. */
  readonly controls: ReadonlyArray<NamedFigures>
}

export interface StreamSuite {
  readonly name: string
  /** Folder below the data that must be there. */
  readonly data: string
  readonly columns: ReadonlyArray<{
    readonly key: string
    readonly name: string
    /** Smaller is better. */
    readonly less?: true
  }>
  readonly peers: ReadonlyArray<NamedFigures>
  readonly pass: Figures
  readonly strong: Figures
  readonly prepare: (folder: string, seed: number) => Promise<ReadonlyArray<Prepared>>
}

/** Trains where the way wants a model, sends all events through the cell and judges them. */
export const judgeWay = async (folder: string, set: Prepared, way: Way, seed: number): Promise<Figures> => {
  const model = way === "baselines" ? undefined : join(folder, `model-${way}`)
  if (model !== undefined) {
    await groundstate(
      ...["train", "--stream", set.stream, "--features", "device", "--energy", way],
      ...["--input", set.training, "--output", model, "--seed", String(seed), "-o", "json"]
    )
  }
  return set.judge(await cellScores(set.stream, set.input, set.events, model))
}

const figure = (value: number | undefined) => (value === undefined ? "–" : value.toFixed(3))

/** Is every figure of the bar reached? */
export const reaches = (suite: StreamSuite, figures: Figures, bar: Figures): boolean =>
  suite.columns.every(({ key, less }) => {
    if (bar[key] === undefined) return true
    return less ? figures[key] <= bar[key] : figures[key] >= bar[key]
  })

const meanOf = (all: ReadonlyArray<Figures>): Figures =>
  Object.fromEntries(
    Object.keys(all[0]).map((key) => [key, all.reduce((sum, one) => sum + one[key], 0) / all.length])
  )

/** Our figures, mean over seeds, beside the peers' stored ones and the bars. */
export const reportStreams = (
  suite: StreamSuite,
  seeds: ReadonlyArray<number>,
  judged: ReadonlyArray<{ readonly set: string; readonly way: string; readonly figures: Figures }>
): string => {
  const { columns, peers, pass, strong } = suite
  const line = (name: string, figures: Figures, verdict = "") =>
    `${name.padEnd(38)}${columns.map(({ key }) => figure(figures[key]).padStart(9)).join("")}  ${verdict}`.trimEnd()
  const names = [...new Set(judged.map(({ set, way }) => `${set}, ${way}`))]
  const verdictOf = (figures: Figures) =>
    reaches(suite, figures, strong) ? "strong" : reaches(suite, figures, pass) ? "pass" : "missed"
  const named = names.map((name) => ({
    name,
    figures: meanOf(judged.filter(({ set, way }) => `${set}, ${way}` === name).map(({ figures }) => figures))
  }))
  return [
    `${`${suite.name}, seeds ${seeds.join(", ")}`.padEnd(38)}${columns.map(({ name }) => name.padStart(9)).join("")}`,
    ...named.map(({ name, figures }) =>
      line(name, figures, name.includes("recomputed") ? "" : verdictOf(figures))
    ),
    ...peers.map(({ name, figures }) => line(`peer: ${name}`, figures)),
    line("bar: pass", pass),
    line("bar: strong", strong)
  ].join("\n")
}
