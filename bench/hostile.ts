// Question: is an honest client served while others are slow on purpose (F29)? On an embedded runner: 500 clients that
// drip their headers, 500 that drip a body, 500 that take nothing of what they asked for, 10,000 listeners that say
// nothing more. Each that is cut off comes again: after five seconds, a listener when it was told to. Beside them 20 honest requests a second, each on a
// connection of its own; before that the same without anybody else.
import { request } from "node:http"
import { Worker } from "node:worker_threads"
import { flowsDefinition } from "./flows.ts"
import type { CrowdSeen, Manner } from "./hostileCrowd.ts"
import { makePlace, OTHER_CORE, pause, pinSelf, residentBytes, startRunner } from "./live.ts"
import { type Question, type Row, round, summaryOf } from "./report.ts"

const SLOW = 500
const LISTENERS = 10_000
const PARTITIONS = 8
const ASK_EVERY_MILLIS = 50
const QUIET_SECONDS = 10
/** While some 11,500 connections come at once and are answered, and then while they last. */
const STORM_SECONDS = 20
const HOSTILE_SECONDS = 30
const COMES_AGAIN_MILLIS = 5_000
/** `Retry-After` of a runner that has as many listeners as it may. */
const TOLD_TO_WAIT_MILLIS = 30_000
const GOAL_MILLIS = 250
const HOST = "Host: a\r\n"

/** Milliseconds of honest requests from when each was due, and what was not 200. */
const askFor = async (url: string, seconds: number) => {
  const millis: Array<number> = []
  const others: Record<string, number> = {}
  const one = (due: number) =>
    new Promise<void>((resolve) => {
      const end = (what: string) => {
        if (what === "200") millis.push(performance.now() - due)
        else others[what] = (others[what] ?? 0) + 1
        resolve()
      }
      const sent = request(`${url}/v1/cells`, { agent: false, timeout: 10_000 }, (response) => {
        response.resume()
        response.once("end", () => end(String(response.statusCode)))
      })
      sent.once("timeout", () => sent.destroy(new Error("10 s")))
      sent.once("error", (error) => end(error.message))
      sent.end()
    })
  const from = performance.now()
  const asked: Array<Promise<void>> = []
  for (let n = 0; n < (seconds * 1_000) / ASK_EVERY_MILLIS; n++) {
    const due = from + n * ASK_EVERY_MILLIS
    while (performance.now() < due) await pause(1)
    asked.push(one(due))
  }
  await Promise.all(asked)
  return { millis, others }
}

export const hostile: Question = async () => {
  pinSelf(OTHER_CORE)
  const place = makePlace(flowsDefinition("flows", PARTITIONS), {})
  const runner = await startRunner(place, PARTITIONS)
  const port = Number(new URL(runner.url).port)
  try {
    await askFor(runner.url, 2)
    const alone = await askFor(runner.url, QUIET_SECONDS)
    const before = residentBytes(runner.pid)
    const manners: ReadonlyArray<Manner> = [
      {
        name: "headers",
        count: SLOW,
        words: `GET /v1/cells HTTP/1.1\r\n${HOST}x-slow: `,
        drips: true,
        reads: true,
        againMillis: COMES_AGAIN_MILLIS
      },
      {
        name: "bodies",
        count: SLOW,
        words: `POST /v1/events?stream=flows HTTP/1.1\r\n${HOST}Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n[`,
        drips: true,
        reads: true,
        againMillis: COMES_AGAIN_MILLIS
      },
      {
        name: "deaf",
        count: SLOW,
        words: `GET /openapi.json HTTP/1.1\r\n${HOST}\r\n`.repeat(20),
        drips: false,
        reads: false,
        againMillis: COMES_AGAIN_MILLIS
      },
      {
        name: "listeners",
        count: LISTENERS,
        words: `GET /v1/alerts HTTP/1.1\r\n${HOST}Accept: text/event-stream\r\n\r\n`,
        drips: false,
        reads: true,
        againMillis: TOLD_TO_WAIT_MILLIS
      }
    ]
    const crowds = new Worker(new URL("./hostileCrowd.js", import.meta.url), {
      workerData: { port, manners }
    })
    let most = 0
    const watch = setInterval(() => {
      most = Math.max(most, residentBytes(runner.pid))
    }, 500)
    const storm = await askFor(runner.url, STORM_SECONDS)
    const beside = await askFor(runner.url, HOSTILE_SECONDS)
    clearInterval(watch)
    const seen = await new Promise<Readonly<Record<string, CrowdSeen>>>((resolve) => {
      crowds.once("message", resolve)
      crowds.postMessage("look")
    })
    await crowds.terminate()
    const after = await askFor(runner.url, 2)
    const limit = summaryOf(alone.millis)
    const figure = summaryOf(beside.millis)
    const coming = summaryOf(storm.millis)
    const failures = [...Object.values(storm.others), ...Object.values(beside.others)]
    const failed = failures.reduce((sum, count) => sum + count, 0)
    const rows: Array<Row> = [
      {
        question: "hostile",
        what: "honest request beside 1,500 slow clients and 10,000 listeners, p99",
        figure: figure.p99,
        unit: "ms",
        limit: limit.p99,
        limitIs: "the same alone",
        goal: `≤ ${GOAL_MILLIS} ms`,
        met: figure.p99 <= GOAL_MILLIS,
        detail: { beside: figure, alone: limit, crowds: seen }
      },
      {
        question: "hostile",
        what: `the same in the ${STORM_SECONDS} s in which they come, p99`,
        figure: coming.p99,
        unit: "ms",
        limit: limit.p99,
        limitIs: "the same alone",
        detail: { coming }
      },
      {
        question: "hostile",
        what: "honest requests not served, of all of those",
        figure: failed,
        unit: `of ${storm.millis.length + beside.millis.length + failed}`,
        goal: "0",
        met: failed === 0 && after.millis.length > 0,
        detail: { storm: storm.others, beside: beside.others }
      },
      {
        question: "hostile",
        what: "memory beyond what it was",
        figure: round((most - before) / 1024 ** 2),
        unit: "MiB",
        detail: { beforeMiB: round(before / 1024 ** 2), mostMiB: round(most / 1024 ** 2) }
      }
    ]
    return rows
  } finally {
    await runner.stop()
  }
}
