// Question: how long does POST /v1/score take at 500 requests/s beside 10,000 events/s, on Kafka and embedded, and how
// many get the rules' verdict because the cell's did not come in time? Open loop: from when a request was due. And
// what does one cost the runner, alone?
import { Agent, request } from "node:http"
import { loadavg } from "node:os"
import { flowsDefinition, flowText } from "./flows.ts"
import {
  activateModel,
  cpuSeconds,
  makePlace,
  OTHER_CORE,
  onKafka,
  type Place,
  pause,
  pinSelf,
  type Runner,
  startBroker,
  startEcho,
  startProducer,
  startRunner,
  watchCores
} from "./live.ts"
import { type Question, quantile, type Row, round, summaryOf } from "./report.ts"

const ASK_RATE = 500
const EVENT_RATE = 10_000
const WARM_SECONDS = 5
const SECONDS = 10
const DEVICES = 20_000
const PARTITIONS = 8
/** Events of one POST /v1/events where HTTP brings the other events too. */
const POST_ROWS = 100
const TICK_MILLIS = 2

const wallNow = () => performance.timeOrigin + performance.now()

interface Answer {
  readonly millis: number
  readonly status: number
  readonly fallback: boolean
}

const post = (agent: Agent, url: URL, type: string, body: string) =>
  new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
    const sent = request(
      url,
      {
        method: "POST",
        agent,
        headers: { "content-type": type, "content-length": Buffer.byteLength(body) }
      },
      (response) => {
        let text = ""
        response.setEncoding("utf8")
        response.on("data", (part: string) => {
          text += part
        })
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }))
      }
    )
    sent.once("error", reject)
    sent.end(body)
  })

/** Calls `due` for each of `rate × seconds` moments with the moment, as near to it as timers come. */
const atRate = async (rate: number, seconds: number, due: (n: number, at: number) => void): Promise<void> => {
  const from = performance.now()
  for (let n = 0; n < rate * seconds; ) {
    while (n < rate * seconds && from + (n * 1_000) / rate <= performance.now()) {
      due(n, from + (n * 1_000) / rate)
      n++
    }
    await pause(TICK_MILLIS)
  }
}

let asked = 0

/** A runner, or whatever answers in its place. */
type Asked = Pick<Runner, "url">

const ask = async (runner: Asked, seconds: number): Promise<ReadonlyArray<Answer>> => {
  const agent = new Agent({ keepAlive: true, maxSockets: 128 })
  const url = new URL("/v1/score?stream=flows", runner.url)
  const pending: Array<Promise<Answer>> = []
  await atRate(ASK_RATE, seconds, (_, at) => {
    const body = flowText(2_000_000_000 + asked++, DEVICES, Math.round(wallNow()))
    pending.push(
      post(agent, url, "application/json", body).then(
        ({ status, text }) => ({
          millis: performance.now() - at,
          status,
          fallback: status === 200 && JSON.parse(text).fallback === true
        }),
        () => ({ millis: performance.now() - at, status: 0, fallback: false })
      )
    )
  })
  const answers = await Promise.all(pending)
  agent.destroy()
  return answers
}

/** The other events over HTTP, `POST_ROWS` a request; answers how many were not accepted. */
const feed = async (runner: Asked, seconds: number, first: number): Promise<number> => {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const url = new URL("/v1/events?stream=flows", runner.url)
  const pending: Array<Promise<number>> = []
  await atRate(EVENT_RATE / POST_ROWS, seconds, (n) => {
    const time = Math.round(wallNow())
    const lines = Array.from({ length: POST_ROWS }, (_, k) =>
      flowText(first + n * POST_ROWS + k, DEVICES, time)
    )
    pending.push(
      post(agent, url, "application/x-ndjson", lines.join("\n")).then(
        ({ status }) => (status === 202 ? 0 : POST_ROWS),
        () => POST_ROWS
      )
    )
  })
  const lost = await Promise.all(pending)
  agent.destroy()
  return lost.reduce((sum, count) => sum + count, 0)
}

const GOAL = 50
const CPU_GOAL = 0.5

/** Nothing but asks: what one costs the runner, less what it uses while nobody asks. */
const askAlone = async (runner: Runner) => {
  await ask(runner, WARM_SECONDS)
  const idle = cpuSeconds(runner.pid)
  await pause(WARM_SECONDS * 1_000)
  const from = cpuSeconds(runner.pid)
  const answers = await ask(runner, SECONDS)
  const used = cpuSeconds(runner.pid) - from - ((from - idle) * SECONDS) / WARM_SECONDS
  return {
    cpuMillis: (used * 1_000) / answers.length,
    ...summaryOf(answers.map(({ millis }) => millis)),
    loadAverage: loadavg()[0]
  }
}

const measure = async (
  where: string,
  place: Place,
  background: (
    asked: Asked
  ) => Promise<{ readonly send: (seconds: number) => Promise<unknown>; readonly stop: () => Promise<void> }>
): Promise<ReadonlyArray<Row>> => {
  const runner = await startRunner(place, PARTITIONS)
  await activateModel(place, runner)
  const alone = await askAlone(runner)
  const beside = await background(runner)
  await Promise.all([beside.send(WARM_SECONDS), ask(runner, WARM_SECONDS)])
  const busy = watchCores()
  const [sent, answers] = await Promise.all([beside.send(SECONDS), ask(runner, SECONDS)])
  const coresBusy = busy().map((share) => round(share))
  await beside.stop()
  await runner.stop()
  const echo = await startEcho()
  const besideEcho = await background(echo)
  await Promise.all([besideEcho.send(WARM_SECONDS), ask(echo, WARM_SECONDS)])
  const [, echoed] = await Promise.all([besideEcho.send(SECONDS), ask(echo, SECONDS)])
  await besideEcho.stop()
  await echo.stop()
  const limit = echoed.map((answer) => answer.millis)
  const millis = answers.map((answer) => answer.millis)
  const p99 = quantile(millis, 0.99)
  const refused = answers.filter((answer) => answer.status !== 200).length
  const fallbacks = answers.filter((answer) => answer.fallback).length
  const detail = {
    ...summaryOf(millis),
    limit: summaryOf(limit),
    coresBusy,
    refused,
    fallbacks,
    background: sent,
    loadAverage: loadavg()[0]
  }
  return [
    {
      question: "score",
      what: `POST /v1/score at ${ASK_RATE}/s beside ${EVENT_RATE} events/s, ${where}, p99`,
      figure: round(p99),
      unit: "ms",
      limit: round(quantile(limit, 0.99)),
      limitIs: "a bare HTTP server beside the same load",
      goal: `< ${GOAL} ms`,
      met: p99 < GOAL && refused === 0,
      detail
    },
    {
      question: "score",
      what: `the same, p50`,
      figure: round(quantile(millis, 0.5)),
      unit: "ms",
      limit: round(quantile(limit, 0.5)),
      limitIs: "a bare HTTP server beside the same load"
    },
    {
      question: "score",
      what: `the same, answered by the rules alone`,
      figure: round((100 * fallbacks) / answers.length),
      unit: "%"
    },
    {
      question: "score",
      what: `POST /v1/score at ${ASK_RATE}/s alone, ${where}, CPU a request`,
      figure: round(alone.cpuMillis),
      unit: "ms",
      goal: `< ${CPU_GOAL} ms`,
      met: alone.cpuMillis < CPU_GOAL,
      detail: alone
    }
  ]
}

export const askScore: Question = async () => {
  // Who asks must not share the core of the one that is asked: here no broker has put the bench on the other one yet.
  pinSelf(OTHER_CORE)
  const embedded = await measure(
    "embedded",
    makePlace(flowsDefinition("flows", PARTITIONS), { telemetry: { logLevel: "warning" } }),
    async (asked) => {
      let first = 0
      return {
        send: async (seconds) => {
          const lost = await feed(asked, seconds, first)
          first += EVENT_RATE * seconds
          return { notAccepted: lost }
        },
        stop: async () => undefined
      }
    }
  )
  const kafka = await startBroker()
  try {
    const onBroker = await measure(
      "on Kafka",
      makePlace(flowsDefinition("flows", PARTITIONS), onKafka(kafka)),
      async () => {
        const producer = await startProducer({
          kafka,
          topic: "flows",
          rate: EVENT_RATE,
          devices: DEVICES,
          alarmEvery: 0,
          label: "s"
        })
        return { send: (seconds) => producer.send(EVENT_RATE * seconds), stop: producer.stop }
      }
    )
    return [...embedded, ...onBroker]
  } finally {
    await kafka.stop()
  }
}
