// Question: does memory stay flat at full speed? A runner on Kafka is kept behind its log all the time while its
// resident memory is looked at; the figure is the slope of a straight line through the second half of the looks.
import {
  cpuSeconds,
  pause,
  preparePlace,
  residentBytes,
  startBroker,
  startProducer,
  startRunner
} from "./live.ts"
import { type Question, round, slopeOf } from "./report.ts"

const PARTITIONS = 8
const DEVICES = 50_000
/** One event in this many alerts, of a device of its own. */
const ALARM_EVERY = 20_000
const CHUNK = 400_000
/** The producer sends on while the runner is less than this behind. */
const BEHIND = 800_000
const LOOK_MILLIS = 500

/** Above this the process would double its memory within a day. */
const GOAL = 1

export const soak: Question = async ({ minutes }) => {
  const kafka = await startBroker({
    "log.retention.bytes": String(256 * 1024 ** 2),
    "log.segment.bytes": String(32 * 1024 ** 2),
    "log.retention.check.interval.ms": "5000",
    "log.segment.delete.delay.ms": "1000"
  })
  try {
    const place = await preparePlace(kafka, "flows", PARTITIONS)
    const runner = await startRunner(place, PARTITIONS)
    const producer = await startProducer({
      kafka,
      topic: "flows",
      rate: 0,
      devices: DEVICES,
      alarmEvery: ALARM_EVERY,
      label: "m"
    })
    const points: Array<readonly [number, number]> = []
    const from = performance.now()
    const cpu = cpuSeconds(runner.pid)
    let sent = 0
    let sending = false
    let done = 0
    let looksWithoutLag = 0
    while (performance.now() - from < minutes * 60_000) {
      const cells = await runner.cells()
      done = cells.reduce((sum, cell) => sum + cell.offset, 0)
      if (done >= sent) looksWithoutLag++
      if (!sending && sent - done < BEHIND) {
        sending = true
        sent += CHUNK
        void producer.send(CHUNK).then(() => {
          sending = false
        })
      }
      points.push([(performance.now() - from) / 60_000, residentBytes(runner.pid) / 1024 ** 2])
      await pause(LOOK_MILLIS)
    }
    const seconds = (performance.now() - from) / 1_000
    const used = cpuSeconds(runner.pid) - cpu
    await producer.stop()
    await runner.stop()
    const half = points.slice(points.length >> 1)
    const slope = slopeOf(half)
    return [
      {
        question: "soak",
        what: `memory at full speed over ${minutes} minutes: slope in the second half`,
        figure: round(slope),
        unit: "MiB/min",
        goal: `≤ ${GOAL}`,
        met: slope <= GOAL,
        detail: {
          events: done,
          eventsPerSecond: round(done / seconds),
          cpuPerMillion: round((used * 1e6) / done),
          looksWithoutLag,
          looks: points.length,
          mebibytes: points
            .filter((_, n) => n % Math.ceil(points.length / 20) === 0)
            .map(([, value]) => Math.round(value))
        }
      }
    ]
  } finally {
    await kafka.stop()
  }
}
