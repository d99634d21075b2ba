// The series of the Numenta benchmark as one folder through `replay`: each file a device, judged by its windows.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { gunzipSync } from "node:zlib"
import { dataFile, type Finding, groundstate, type Replayed, root, say } from "./program.ts"

/** A stream of readings, one device per file. */
export const nabStream = join(root, "deploy", "examples", "nab.yaml")
/** The first part of each series, in which the benchmark itself counts nothing. */
const PROBATION = 0.15

export interface Series {
  /** Path below the folder of data, without `.gz`. */
  readonly name: string
  readonly device: string
  readonly times: ReadonlyArray<number>
  readonly windows: ReadonlyArray<readonly [from: number, to: number]>
}

/** `2014-04-10 07:15:00.000000`, in UTC. */
const millisOf = (text: string): number => Date.parse(`${text.trim().replace(" ", "T")}Z`)

const rowsOf = (file: string): ReadonlyArray<string> =>
  gunzipSync(readFileSync(file)).toString("utf8").trim().split("\n").slice(1)

export const readSeries = (folder: string, labels: string): ReadonlyArray<Series> => {
  const windows = JSON.parse(readFileSync(labels, "utf8")) as Readonly<
    Record<string, ReadonlyArray<readonly [string, string]>>
  >
  return Object.entries(windows).flatMap(([name, spans]) => {
    const file = join(folder, `${name}.gz`)
    if (!existsSync(file)) return []
    return [
      {
        name,
        device: basename(name, ".csv"),
        times: rowsOf(file).map((row) => millisOf(row.slice(0, row.indexOf(",")))),
        windows: spans.map(([from, to]) => [millisOf(from), millisOf(to)] as const)
      }
    ]
  })
}

interface AlertLine {
  readonly subject: string
  readonly time: string
}

/** A window is hit by one alert or more in it; alerts outside all windows are false, those in probation too. */
const judge = (way: string, all: ReadonlyArray<Series>, seen: Replayed, file: string): Finding => {
  const alerts = new Map<string, Array<number>>()
  for (const line of readFileSync(file, "utf8").split("\n")) {
    if (line === "") continue
    const alert = JSON.parse(line) as AlertLine
    const times = alerts.get(alert.subject) ?? []
    times.push(Date.parse(alert.time))
    alerts.set(alert.subject, times)
  }
  let windows = 0
  let hit = 0
  let byChance = 0
  let outside = 0
  let outsideRows = 0
  let inProbation = 0
  const series = all.map(({ device, times, windows: spans }) => {
    const raised = alerts.get(device) ?? []
    const inside = (time: number) => spans.some(([from, to]) => time >= from && time <= to)
    const struck = spans.filter(([from, to]) => raised.some((time) => time >= from && time <= to)).length
    const falseOnes = raised.filter((time) => !inside(time)).length
    const start = times[Math.floor(times.length * PROBATION)]
    const early = raised.filter((time) => !inside(time) && time < start).length
    windows += spans.length
    hit += struck
    outside += falseOnes
    inProbation += early
    outsideRows += times.filter((time) => !inside(time)).length
    for (const [from, to] of spans) {
      const covered = times.filter((time) => time >= from && time <= to).length / times.length
      byChance += 1 - (1 - covered) ** raised.length
    }
    return { device, rows: times.length, windows: spans.length, hit: struck, falseAlarms: falseOnes }
  })
  return {
    data: "NAB, 34 series",
    way,
    events: seen.events,
    anomalies: windows,
    alerts: seen.alerts,
    detected: hit / windows,
    falseAlarms: outside / outsideRows,
    eventsPerSecond: seen.eventsPerSecond,
    detail: {
      windows,
      hit,
      hitByAsManyAlertsAtRandom: byChance,
      falseAlarms: outside,
      falseAlarmsInProbation: inProbation,
      falseAlarmsPerSeries: outside / all.length,
      falseAlarmsPer1000Points: (1_000 * outside) / outsideRows,
      deadLetters: seen.deadLetters,
      series
    }
  }
}

/** Writes the first part of each series, as the folder has it: what a model is trained on, without labels. */
const writeProbation = (folder: string, target: string): string => {
  for (const group of readdirSync(folder)) {
    mkdirSync(join(target, group), { recursive: true })
    for (const name of readdirSync(join(folder, group))) {
      const rows = rowsOf(join(folder, group, name))
      const part = rows.slice(0, Math.floor(rows.length * PROBATION))
      writeFileSync(join(target, group, name.replace(/\.gz$/, "")), `timestamp,value\n${part.join("\n")}\n`)
    }
  }
  return target
}

/** Windows hit and false alarms on NAB: by baselines, and by a model of each series' first 15 %. */
export const realNab = async (folder: string): Promise<ReadonlyArray<Finding>> => {
  const data = dataFile("nab/data")
  const labels = dataFile("nab/labels/combined_windows.json")
  if (data === undefined || labels === undefined) {
    say("nab skipped: ../shared/data/nab is absent")
    return []
  }
  const all = readSeries(data, labels)
  const findings: Array<Finding> = []
  const replay = async (way: string, model: string | undefined) => {
    const alerts = join(folder, "nab-alerts.jsonl")
    const seen = await groundstate<Replayed>(
      ...["replay", "--stream", nabStream, "--input", data, "--output", alerts, "-o", "json"],
      ...(model === undefined ? [] : ["--model", model])
    )
    const finding = judge(way, all, seen, alerts)
    findings.push(finding)
    say(
      `${finding.data}, ${finding.way}: ${JSON.stringify({ ...finding, detail: { ...finding.detail, series: undefined } })}`
    )
  }
  await replay("folder, replay, baselines", undefined)
  const model = join(folder, "nab-model")
  const training = writeProbation(data, join(folder, "nab-probation"))
  await groundstate(
    "train",
    "--stream",
    nabStream,
    "--features",
    "device",
    "--input",
    training,
    "--output",
    model,
    "-o",
    "json"
  )
  await replay("folder, replay, model of first 15 %", model)
  return findings
}
