// Question: how fast does a whole runner (Kafka, checkpoints, model, alerts) take a topic that is already there, beside
// kafkajs consuming the same topic and doing nothing? Both on one core, the broker on the other, rounds in turn.
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { Kafka } from "../test/support/kafka.ts"
import {
  copyPlace,
  cpuSeconds,
  type Place,
  pause,
  pinned,
  preparePlace,
  startBroker,
  startProducer,
  startRunner,
  WORK_CORE
} from "./live.ts"
import { median, type Question, round } from "./report.ts"

const EVENTS = 2_000_000
const PARTITIONS = 8
const DEVICES = 100_000
/** One event in this many breaks a rule, of a device of its own: what a stream's default budget allows. */
const ALARM_EVERY = 10_000
const TOPIC = "flows"

interface Taken {
  readonly perSecond: number
  readonly cpuPerMillion: number
}

const raw = async (kafka: Kafka, group: string): Promise<Taken> => {
  const how = pinned(WORK_CORE, process.execPath, [
    fileURLToPath(new URL("./rawConsumer.js", import.meta.url)),
    kafka.brokers.join(","),
    TOPIC,
    String(EVENTS),
    group
  ])
  const { stdout } = await promisify(execFile)(how.command, [...how.args])
  const { seconds, cpuSeconds } = JSON.parse(stdout)
  return { perSecond: EVENTS / seconds, cpuPerMillion: (cpuSeconds * 1e6) / EVENTS }
}

/** From the first look that shows events taken to the last event; what was taken until then is not counted. */
const whole = async (place: Place): Promise<Taken & { readonly alerts: number; readonly path: string }> => {
  const runner = await startRunner(copyPlace(place), PARTITIONS)
  const done = (cells: ReadonlyArray<{ readonly offset: number }>) =>
    cells.reduce((sum, cell) => sum + cell.offset, 0)
  let first: { readonly at: number; readonly cpu: number; readonly done: number } | undefined
  for (;;) {
    const cells = await runner.cells()
    const at = performance.now()
    const cpu = cpuSeconds(runner.pid)
    const taken = done(cells)
    if (first === undefined) {
      if (taken > 0) first = { at, cpu, done: taken }
    } else if (taken >= EVENTS) {
      const count = taken - first.done
      const alerts = cells.reduce((sum, cell) => sum + cell.counters.alerts, 0)
      await runner.stop()
      return {
        perSecond: (count * 1_000) / (at - first.at),
        cpuPerMillion: ((cpu - first.cpu) * 1e6) / count,
        alerts,
        path: cells[0].path
      }
    }
    await pause(100)
  }
}

const GOAL = 0.5
const CPU_GOAL = 4

export const kafkaThroughput: Question = async ({ rounds }) => {
  const kafka = await startBroker()
  try {
    const place = await preparePlace(kafka, TOPIC, PARTITIONS)
    const producer = await startProducer({
      kafka,
      topic: TOPIC,
      rate: 0,
      devices: DEVICES,
      alarmEvery: ALARM_EVERY,
      label: "t"
    })
    await producer.send(EVENTS)
    await producer.stop()
    const own: Array<Awaited<ReturnType<typeof whole>>> = []
    const limit: Array<Taken> = []
    for (let turn = 0; turn < rounds; turn++) {
      limit.push(await raw(kafka, `raw-${turn}`))
      own.push(await whole(place))
    }
    const ratio = median(own.map((taken, turn) => taken.perSecond / limit[turn].perSecond))
    const cpu = median(own.map((taken) => taken.cpuPerMillion))
    const detail = {
      events: EVENTS,
      partitions: PARTITIONS,
      devices: DEVICES,
      rounds: own.map((taken) => ({ perSecond: round(taken.perSecond), cpu: round(taken.cpuPerMillion) })),
      limitRounds: limit.map((taken) => ({
        perSecond: round(taken.perSecond),
        cpu: round(taken.cpuPerMillion)
      })),
      alerts: own[0].alerts,
      path: own[0].path
    }
    return [
      {
        question: "kafka",
        what: "with Kafka, checkpoints and alerts, one core",
        figure: round(median(own.map((taken) => taken.perSecond))),
        unit: "events/s",
        limit: round(median(limit.map((taken) => taken.perSecond))),
        limitIs: "raw kafkajs",
        ratio: round(ratio),
        goal: `≥ ${GOAL} of it`,
        met: ratio >= GOAL,
        detail
      },
      {
        question: "kafka",
        what: "the same, CPU time",
        figure: round(cpu),
        unit: "CPU s/million",
        limit: round(median(limit.map((taken) => taken.cpuPerMillion))),
        limitIs: "raw kafkajs",
        goal: `≤ ${CPU_GOAL}`,
        met: cpu <= CPU_GOAL
      }
    ]
  } finally {
    await kafka.stop()
  }
}
