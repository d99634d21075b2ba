// Plays scenarios and judges them: those of a region one after the other in the same one where they are given together.
import { cpus, loadavg } from "node:os"
import { join } from "node:path"
import { Kafka as KafkaJs, logLevel } from "kafkajs"
import { slopeOf } from "../bench/report.ts"
import { kafkaAvailable } from "../test/support/kafka.ts"
import type { Told as Answer } from "../test/support/runner.ts"
import { type Judgement, judge } from "./oracle.ts"
import type { PlayOptions, RegionScenario, Row, Scenario, Told, Verdict } from "./scenario.ts"
import { untold } from "./scenario.ts"
import { type Mark, openStage, type Stage, TOPIC } from "./stage.ts"
import { cellsOf } from "./watch.ts"

/** Below this a run shows nothing. */
const EVENTS_MIN = 1_000
/** Memory is judged over the last so much of a process that has run for half as long again; below, MiB a minute. */
const GROWTH_MILLIS = 20 * 60_000
const GROWTH_MAX = 1

/** What was done in one scenario's turn. */
interface Turn {
  readonly faults: ReadonlyArray<string>
  readonly observed: ReadonlyArray<string>
  readonly marks: ReadonlyArray<Mark>
  readonly blamed: ReadonlyArray<string>
  readonly seconds: number
  readonly failure: unknown
}

const endsOf = async (brokers: ReadonlyArray<string>): Promise<ReadonlyMap<number, number>> => {
  const admin = new KafkaJs({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  try {
    return new Map(
      (await admin.fetchTopicOffsets(TOPIC)).map(({ high, partition }) => [partition, Number(high)])
    )
  } finally {
    await admin.disconnect()
  }
}

/** Ends the load, waits for the cells to process all of it, and ends the runners in order. */
const windUp = async (stage: Stage) => {
  const { load, region } = stage
  await stage.until("enough events", async () => (load.records() >= EVENTS_MIN ? true : undefined))
  await stage.settled()
  await load.finish()
  stage.history.write("load-over")
  const ends = await endsOf(region.kafka.brokers)
  await stage.until("the cells to process everything", async () => {
    const told = await cellsOf(region)
    const items: ReadonlyArray<Answer> = told?.items ?? []
    const done = [...ends].every(([partition, end]) =>
      items.some((cell) => cell.partition === partition && cell.offset >= end)
    )
    return done ? true : undefined
  })
  stage.history.write("processed")
  // What lies below a stored offset is where it belongs, so nothing is left to be taken over when they end.
  await stage.until("the checkpoints to reach the end", async () => {
    const rows = await region.postgres.query(
      region.database,
      "SELECT partition_id, next_offset FROM cell_checkpoint"
    )
    const stored = new Map(rows.map(([partition, offset]) => [Number(partition), Number(offset)]))
    const short = [...ends].filter(([partition, end]) => (stored.get(partition) ?? -1) < end)
    if (short.length === 0) return true
    throw new Error(`cells ${short.map(([partition]) => partition).join(", ")} are not there yet`)
  })
  stage.history.write("stored")
  stage.watch.stop()
  for (const [name, runner] of region.runners) {
    if (!runner.running()) continue
    const { code } = await runner.stop()
    if (code !== 0) stage.blame(`runner ${name} ended with code ${code} when it was told to stop`)
  }
}

/** How long a mark's slowest cell took, ms; undefined where one of them never came back. */
const timeOf = (mark: Mark, stage: Stage, { alertedAt }: Judgement): number | undefined => {
  let slowest = 0
  for (const partition of mark.partitions) {
    const probes = stage.load.probes[partition]
    if (mark.silenceUntil === undefined) {
      const first = probes
        .filter(({ sentAt }) => sentAt >= mark.at)
        .reduce(
          (least, { device }) => Math.min(least, alertedAt.get(device) ?? least),
          Number.POSITIVE_INFINITY
        )
      if (!Number.isFinite(first)) return undefined
      slowest = Math.max(slowest, first - mark.at)
      continue
    }
    const { silenceUntil } = mark
    const times = probes
      .map(({ device }) => alertedAt.get(device) ?? Number.NaN)
      .filter((at) => at >= mark.at - 1_000 && at <= silenceUntil + 5_000)
      .sort((a, b) => a - b)
    times.forEach((at, i) => {
      if (i > 0) slowest = Math.max(slowest, at - times[i - 1])
    })
  }
  return slowest
}

/** I11: of each process that has run for long enough, MiB a minute over its last stretch. */
const memoryGrowth = ({ watch }: Stage): ReadonlyArray<string> => {
  const processes = new Set(watch.memory.map(({ pid }) => pid))
  return [...processes].flatMap((process) => {
    const samples = watch.memory.filter(({ pid }) => pid === process)
    const end = samples[samples.length - 1].at
    if (end - samples[0].at < 1.5 * GROWTH_MILLIS) return []
    const points = samples
      .filter(({ at }) => at > end - GROWTH_MILLIS)
      .map(({ at, bytes }) => [at / 60_000, bytes / 1_048_576] as const)
    const slope = slopeOf(points)
    return slope < GROWTH_MAX
      ? []
      : [`I11: runner ${samples[0].runner} grew by ${slope.toFixed(2)} MiB a minute over 20 minutes`]
  })
}

const tellOf = (turn: Turn, stage: Stage, judgement: Judgement, slack: number): Told => {
  const because = [...judgement.broken, ...turn.blamed, ...memoryGrowth(stage)]
  const recoveries: Array<number> = []
  let disturbed = 0
  for (const mark of turn.marks) {
    const millis = timeOf(mark, stage, judgement)
    const until = mark.silenceUntil ?? mark.at + (millis ?? Number.POSITIVE_INFINITY)
    if (stage.watch.stalls.some(({ from, to }) => from < until && to > mark.at)) disturbed++
    else if (millis === undefined) because.push(`I13: ${mark.what}: a cell never came back`)
    else {
      recoveries.push(millis)
      if (millis > mark.within * slack)
        because.push(`I13: ${mark.what}: ${Math.round(millis)} ms, ${mark.within} are allowed`)
    }
  }
  let verdict: Verdict = because.length === 0 ? "held" : "failed"
  const empty = [
    ...(judgement.events < EVENTS_MIN ? [`only ${judgement.events} events`] : []),
    ...(turn.observed.length === 0 ? ["no effect of the fault was seen"] : []),
    ...(disturbed > 0 && disturbed === turn.marks.length
      ? ["the machine itself stood still during each recovery"]
      : [])
  ]
  if (empty.length > 0) {
    if (verdict === "held") verdict = "void"
    because.push(...empty)
  }
  return {
    verdict,
    faults: turn.faults,
    observed: turn.observed,
    events: judgement.events,
    lost: judgement.lost,
    doubled: judgement.doubled,
    copies: judgement.copies,
    alerts: judgement.alerts,
    deadLetters: judgement.deadLetters,
    alertsEqual: judgement.alertsEqual,
    statesEqual: judgement.statesEqual,
    recoveries,
    disturbed,
    because
  }
}

const loadNow = (): number => Math.round((loadavg()[0] / cpus().length) * 10) / 10

const messageOf = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause))

/** Plays these in one region, under one load, with one judgement at the end. */
export const playTogether = async (
  scenarios: ReadonlyArray<RegionScenario>,
  options: PlayOptions
): Promise<ReadonlyArray<Row>> => {
  const { seed } = options
  const begun = performance.now()
  const seconds = () => (performance.now() - begun) / 1_000
  const rowOf = ({ id, name }: RegionScenario, told: Told, took = seconds()): Row => ({
    id,
    name,
    seed,
    seconds: took,
    load: loadNow(),
    ...told
  })
  const lacking = kafkaAvailable()
    ? scenarios.flatMap(({ needs }) => needs?.() ?? [])
    : ["no Kafka: it needs Java 17 and Maven"]
  if (lacking.length > 0) return scenarios.map((one) => rowOf(one, untold("not run", lacking.join("; "))))
  const name = scenarios.map((one) => one.name).join("+")
  let stage: Awaited<ReturnType<typeof openStage>>
  try {
    stage = await openStage({ ...options, name, ...scenarios[0].stage })
  } catch (cause) {
    return scenarios.map((one) =>
      rowOf(one, untold("failed", `the region did not come up: ${messageOf(cause)}`))
    )
  }
  const turns: Array<Turn> = []
  try {
    for (const scenario of scenarios) {
      const from = performance.now()
      const before = [stage.faults.length, stage.observed.length, stage.marks.length, stage.blamed.length]
      options.say(`${scenario.id} ${scenario.name}`)
      let failure: unknown
      try {
        await scenario.play(stage)
        await stage.settled()
      } catch (cause) {
        failure = cause
      }
      turns.push({
        faults: stage.faults.slice(before[0]),
        observed: stage.observed.slice(before[1]),
        marks: stage.marks.slice(before[2]),
        blamed: stage.blamed.slice(before[3]),
        seconds: (performance.now() - from) / 1_000,
        failure
      })
      if (failure !== undefined) break
    }
    const broken = turns.find(({ failure }) => failure !== undefined)
    const overhead = turns.reduce((sum, turn) => sum - turn.seconds, 0)
    if (broken !== undefined) {
      return scenarios.map((one, i) =>
        rowOf(one, {
          ...untold(
            turns[i] === undefined ? "void" : "failed",
            turns[i]?.failure === undefined ? "the run broke off" : messageOf(broken.failure)
          ),
          events: stage.load.records(),
          faults: turns[i]?.faults ?? [],
          observed: turns[i]?.observed ?? []
        })
      )
    }
    const already = stage.blamed.length
    await windUp(stage)
    stage.history.write("ended")
    const judgement = await judge(stage.region, stage.load)
    stage.history.write("judgement", {
      ...judgement,
      alertedAt: judgement.alertedAt.size,
      stalls: stage.watch.stalls
    })
    const late = stage.blamed.slice(already)
    return scenarios.map((one, i) =>
      rowOf(
        one,
        tellOf({ ...turns[i], blamed: [...turns[i].blamed, ...late] }, stage, judgement, options.slack ?? 1),
        turns[i].seconds + (seconds() + overhead) / scenarios.length
      )
    )
  } catch (cause) {
    return scenarios.map((one, i) =>
      rowOf(one, {
        ...untold("failed", messageOf(cause)),
        events: stage.load.records(),
        faults: turns[i]?.faults ?? [],
        observed: turns[i]?.observed ?? []
      })
    )
  } finally {
    await stage.close()
  }
}

export const play = async (scenario: Scenario, options: PlayOptions): Promise<Row> => {
  const folder = join(options.folder, `${scenario.name}-${options.seed}`)
  if (scenario.kind === "region") return (await playTogether([scenario], { ...options, folder }))[0]
  const begun = performance.now()
  const told = await scenario
    .play({ ...options, folder })
    .catch((cause: unknown): Told => untold("failed", messageOf(cause)))
  return {
    id: scenario.id,
    name: scenario.name,
    seed: options.seed,
    seconds: (performance.now() - begun) / 1_000,
    load: loadNow(),
    ...told
  }
}
