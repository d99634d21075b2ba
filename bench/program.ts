// Runs the product's own commands as processes of their own, as a person would, and reads what they print as JSON.
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const entry = fileURLToPath(new URL("../main.js", import.meta.url))

/** The repository, from where the emitted file lies: dist/bench/. */
export const root = fileURLToPath(new URL("../../", import.meta.url))

const data = process.env["GROUNDSTATE_BENCH_DATA"] ?? join(root, "..", "shared", "data")

/** A file or folder of the labelled data beside the repository, or in GROUNDSTATE_BENCH_DATA; undefined where absent. */
export const dataFile = (path: string): string | undefined => {
  const file = join(data, path)
  return existsSync(file) ? file : undefined
}

export const say = (text: string): void => {
  process.stderr.write(`${text}\n`)
}

const children = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL")
})

/** Runs one command to its end and answers its JSON; rejects with the end of its talk where it fails. */
export const groundstate = <A>(...words: ReadonlyArray<string>): Promise<A> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [entry, ...words], { stdio: ["ignore", "pipe", "pipe"], cwd: root })
    children.add(child)
    let out = ""
    let talk = ""
    child.stdout.on("data", (chunk) => {
      out += String(chunk)
    })
    child.stderr.on("data", (chunk) => {
      talk = (talk + String(chunk)).slice(-4_000)
    })
    child.once("error", reject)
    child.once("close", (code) => {
      children.delete(child)
      if (code === 0) resolve(JSON.parse(out) as A)
      else reject(new Error(`groundstate ${words.join(" ")} ended with ${code}: ${talk}`))
    })
  })

/** A folder for converted files, gone when the process ends. */
export const scratchFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "groundstate-real-"))
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** What `replay -o json` prints, as far as it is read here. */
export interface Replayed {
  readonly events: number
  readonly deadLetters: number
  readonly devices: number
  readonly alerts: number
  readonly seconds: number
  readonly eventsPerSecond: number
  readonly labelled: {
    readonly anomalies: number
    readonly caught: number
    readonly normals: number
    readonly falseAlarms: number
    readonly alertsTrue: number
    readonly alertsFalse: number
    readonly rocAuc: number
    readonly averagePrecision: number
    readonly truePositiveRateAt1Percent: number
  } | null
}

/** What `evaluate -o json` prints, as far as it is read here. */
export interface Evaluated {
  readonly rows: number
  readonly anomalies: number
  readonly rocAuc: number
  readonly averagePrecision: number
  readonly truePositiveRateAt1Percent: number
  readonly detectionRate: number
  readonly falseAlarmRate: number
}

/** One way of judging one data set; shares from 0 to 1, undefined where the way does not tell them. */
export interface Finding {
  readonly data: string
  readonly way: string
  readonly events: number
  readonly anomalies?: number | undefined
  readonly alerts?: number | undefined
  readonly detected?: number | undefined
  /** Share of normal events that alarm; for NAB alerts outside windows per event. */
  readonly falseAlarms?: number | undefined
  readonly rocAuc?: number | undefined
  readonly averagePrecision?: number | undefined
  readonly caughtAt1Percent?: number | undefined
  readonly eventsPerSecond?: number | undefined
  readonly detail?: Readonly<Record<string, unknown>>
}

/** A labelled replay as a finding. */
export const replayFinding = (data: string, way: string, seen: Replayed): Finding => ({
  data,
  way,
  events: seen.events,
  anomalies: seen.labelled?.anomalies,
  alerts: seen.alerts,
  ...(seen.labelled === null
    ? {}
    : {
        detected: seen.labelled.caught / seen.labelled.anomalies,
        falseAlarms: seen.labelled.falseAlarms / seen.labelled.normals,
        rocAuc: seen.labelled.rocAuc,
        averagePrecision: seen.labelled.averagePrecision,
        caughtAt1Percent: seen.labelled.truePositiveRateAt1Percent
      }),
  eventsPerSecond: seen.eventsPerSecond,
  detail: {
    devices: seen.devices,
    deadLetters: seen.deadLetters,
    caught: seen.labelled?.caught,
    falseAlarms: seen.labelled?.falseAlarms,
    alertsTrue: seen.labelled?.alertsTrue,
    alertsFalse: seen.labelled?.alertsFalse
  }
})
