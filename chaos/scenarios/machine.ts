// What the machine does to a runner: its clock jumps, its disk is full. F13 F14.
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { makeCellCore } from "../../src/actors/cell/cellCore.ts"
import { EmbeddedLog } from "../../src/services/ingest/EmbeddedLog.ts"
import { defaultConfig } from "../../src/services/runtime/Settings.ts"
import { checkpointed, eachBatch, readEmbedded } from "../../test/support/cellFiles.ts"
import { chaosPlan, chaosStream, makeEvents, PARTITIONS } from "../../test/support/chaosStream.ts"
import { makeRecompute } from "../../test/support/recompute.ts"
import { drained, startRunner, until, writeConfig } from "../../test/support/runner.ts"
import type { LoneScenario, RegionScenario, Told } from "../scenario.ts"
import { untold } from "../scenario.ts"
import { everyPartition } from "./stores.ts"

/** Where Debian's `libfaketime` and others put it. */
const libraries = ["x86_64-linux-gnu", "aarch64-linux-gnu", ""].map((machine) =>
  join("/usr/lib", machine, "faketime", "libfaketimeMT.so.1")
)
const clockFile = (folder: string, runner: string) => join(folder, `clock-${runner}`)

/** Whoever reads the clock meanwhile finds the old setting or the new one, never half of one. */
const setClock = (file: string, seconds: number) => {
  writeFileSync(`${file}.new`, `${seconds < 0 ? "" : "+"}${seconds}\n`)
  renameSync(`${file}.new`, file)
}

/** A clock that can be set while the process runs; the monotonic one goes on as it does. */
const ownClock = (folder: string, runner: string): Readonly<Record<string, string>> => {
  const library = libraries.find(existsSync)
  if (library === undefined) throw new Error("it needs libfaketime (`apt-get install -y libfaketime`)")
  const file = clockFile(folder, runner)
  if (!existsSync(file)) setClock(file, 0)
  return {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    DONT_FAKE_MONOTONIC: "1"
  }
}

export const clock: RegionScenario = {
  kind: "region",
  id: "F13",
  name: "clock",
  about: "one runner's clock jumps an hour ahead, an hour back, five minutes ahead",
  invariants: "I2 I5 I9",
  needs: () =>
    libraries.some(existsSync) ? undefined : "it needs libfaketime (`apt-get install -y libfaketime`)",
  stage: { environment: (folder, runner) => (runner === "a" ? ownClock(folder, runner) : {}) },
  play: async (stage) => {
    for (const seconds of [3_600, -3_600, 300]) {
      const fault = `the clock of a jumps by ${seconds} s`
      const at = await stage.inject(fault, () => setClock(clockFile(stage.folder, "a"), seconds))
      await stage.observe(`a tells a time that is ${seconds} s off`, async () => {
        const answer = await fetch(`${stage.runner("a").url}/livez`, { signal: AbortSignal.timeout(2_000) })
        await answer.text()
        const off = Date.parse(answer.headers.get("date") ?? "") - Date.now()
        return Math.abs(off - seconds * 1_000) < 10_000 ? true : undefined
      })
      await stage.last(stage.by({ short: 3_000, usual: 6_000, long: 60_000 }))
      await stage.settled()
      stage.silences({
        what: fault,
        at,
        partitions: everyPartition,
        within: 10_000,
        silenceUntil: Date.now()
      })
    }
    setClock(clockFile(stage.folder, "a"), 0)
    await stage.settled()
  }
}

const DISK_MIB = 96
const ROUND = 200

const mounted = (folder: string): boolean => {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_MIB}m`, "tmpfs", folder], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

/** Takes all of the room that is left but so much. */
const fill = (folder: string, leave: number) => {
  const free = Number(
    execFileSync("df", ["--output=avail", "-B1", folder], { encoding: "utf8" }).trim().split("\n")[1]
  )
  execFileSync("fallocate", ["-l", String(Math.max(1, free - leave)), join(folder, "filler")])
}

export const diskFull: LoneScenario = {
  kind: "alone",
  id: "F14",
  name: "disk-full",
  about: "the disk of a runner with the embedded log is full, and has room again",
  invariants: "I1 I2 I4",
  play: async ({ folder, length, say, seed }): Promise<Told> => {
    const disk = join(folder, "disk")
    mkdirSync(disk, { recursive: true })
    if (!mounted(disk)) return untold("not run", "a small file system cannot be mounted here: it needs root")
    const config = writeConfig(
      folder,
      {
        dataDir: join(disk, "data"),
        log: { durability: "normal" },
        cell: { checkpointEvery: "500ms" },
        telemetry: { logLevel: "warning" }
      },
      [chaosStream]
    )
    const runner = await startRunner(config)
    const next = makeEvents(seed)
    const because: Array<string> = []
    const observed: Array<string> = []
    const recoveries: Array<number> = []
    let taken = 0
    let doubtful = 0
    const faults: Array<string> = []
    const post = async () => {
      const events = Array.from({ length: ROUND }, () => JSON.parse(next().json))
      const answer = await runner.ask("POST", "/v1/events", events)
      if (answer.status === 202) taken += ROUND
      else doubtful += ROUND
      return answer
    }
    try {
      await runner.ready()
      for (let n = 0; n < 10; n++) await post()
      for (let round = 0; round < (length === "long" ? 3 : 1); round++) {
        fill(disk, 262_144)
        const fault = "the disk is full"
        faults.push(fault)
        say(`  ${fault}`)
        const refusal = await until("events to be refused", async () => {
          const answer = await post()
          return answer.status === 202 ? undefined : answer
        })
        observed.push(`events are answered with ${refusal.status} ${refusal.body.type}`)
        if (refusal.status !== 503 && refusal.status !== 429 && refusal.status !== 507)
          because.push(`F14: a full disk is answered with ${refusal.status}`)
        if (!String(refusal.body.type).startsWith("urn:groundstate:problem:"))
          because.push(`F14: the refusal has no type: ${JSON.stringify(refusal.body).slice(0, 200)}`)
        const told = await until(
          "readiness to be false",
          async () => ((await runner.ask("GET", "/readyz")).status === 503 ? true : undefined),
          15_000
        ).catch((cause: unknown) => {
          because.push(`F14: the runner is still ready: ${String(cause)}`)
        })
        if (told === true) observed.push("the runner is not ready")
        if (!runner.running()) throw new Error(`the runner ended: ${runner.said().slice(-500)}`)
        rmSync(join(disk, "filler"))
        const from = performance.now()
        await until("events to be taken again", async () =>
          (await post()).status === 202 ? true : undefined
        )
        await until("the runner to be ready again", async () =>
          (await runner.ask("GET", "/readyz")).status === 200 ? true : undefined
        )
        recoveries.push(performance.now() - from)
        for (let n = 0; n < 5; n++) await post()
      }
      const data = join(disk, "data")
      const { ends } = await readEmbedded(data, "flows")
      await drained(runner, ends)
      const { code } = await runner.stop()
      if (code !== 0) because.push(`the runner ended with code ${code}: ${runner.said().slice(-300)}`)
      return { ...(await judged(data, taken, doubtful)), faults, observed, recoveries, disturbed: 0 }
    } finally {
      if (runner.running()) await runner.kill9()
      // Lazily: what this process has read of the log may still be open for a moment.
      execFileSync("umount", ["-l", disk], { stdio: "ignore" })
    }

    async function judged(data: string, sure: number, unsure: number) {
      const layer = EmbeddedLog.layer({ filename: join(data, "log.db"), synchronous: "normal" })
      const outcomes = await Effect.runPromise(
        Effect.forEach(
          Array.from({ length: PARTITIONS }, (_, partition) => partition),
          (partition) => {
            const recompute = makeRecompute({
              core: makeCellCore(chaosPlan, defaultConfig.cell, partition),
              key: { stream: chaosPlan.stream, partition },
              topic: "flows",
              commands: [],
              resolveMillis: defaultConfig.device.resolveAfter
            })
            return Effect.map(eachBatch("flows", partition, recompute.take), recompute.outcome)
          }
        ).pipe(Effect.provide(layer))
      )
      const records = outcomes.reduce((sum, { state }) => sum + state.nextOffset, 0)
      const lost = Math.max(0, sure - records)
      if (lost > 0) because.push(`I1: ${sure} events were taken, the log has ${records}`)
      const doubled = Math.max(0, records - sure - unsure)
      if (doubled > 0) because.push(`I2: the log has ${records}, ${sure + unsure} were sent`)
      const states = await checkpointed(data, chaosPlan, PARTITIONS, defaultConfig)
      const statesEqual = JSON.stringify(states) === JSON.stringify(outcomes.map(({ state }) => state))
      if (!statesEqual) because.push("I2: the cells' states differ from an undisturbed run's")
      const sent = new Set(
        (await readEmbedded(data, "groundstate.alerts")).records.map(
          ({ value }) => JSON.parse(new TextDecoder().decode(value ?? new Uint8Array(0))).id
        )
      )
      const wanted = new Set(outcomes.flatMap(({ alerts }) => [...alerts.keys()]))
      const alertsEqual = sent.size === wanted.size && [...wanted].every((id) => sent.has(id))
      if (!alertsEqual) because.push(`I3: ${sent.size} alerts were sent, ${wanted.size} are right`)
      const letters = outcomes.reduce((sum, outcome) => sum + outcome.letters.size, 0)
      return {
        verdict: because.length === 0 ? ("held" as const) : ("failed" as const),
        events: sure,
        lost,
        doubled,
        copies: 0,
        alerts: wanted.size,
        deadLetters: letters,
        alertsEqual,
        statesEqual,
        because
      }
    }
  }
}
