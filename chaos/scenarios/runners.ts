// Runners that are killed, frozen, told to stop, added and taken away. F1 F2 F3 F5.
import type { RegionScenario } from "../scenario.ts"
import { type Stage, TOPIC } from "../stage.ts"
import { ask, processState } from "../watch.ts"

/** Value of a metric of a runner, summed over its labels. */
export const metric = async (stage: Stage, name: string, metricName: string): Promise<number> => {
  const text = String(await ask(stage.runner(name), "/metrics"))
  return text
    .split("\n")
    .filter((line) => line.startsWith(metricName) && !line.startsWith("#"))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0)
}

export const startAgain = async (stage: Stage, name: string) => {
  const runner = await stage.region.start(name)
  await runner.ready()
}

const oneOf = (stage: Stage, names: ReadonlyArray<string>) => names[Math.floor(stage.chance() * names.length)]

/** Waits until each of so many runners has as many cells as any other, within one. */
export const even = (stage: Stage, runners: number) =>
  stage.until(`the cells to be with ${runners} runners`, async () => {
    const sizes = [...(await stage.owners()).values()].map(({ length }) => length)
    const close = Math.max(...sizes) - Math.min(...sizes) <= 1
    if (sizes.length === runners && close) return true
    throw new Error(`they are divided ${sizes.join("/")}`)
  })

export const kill: RegionScenario = {
  kind: "region",
  id: "F1",
  name: "kill",
  about: "SIGKILL to one of two runners, again and again, at any moment",
  invariants: "I1-I4 I9",
  play: async (stage) => {
    const kills = stage.kills ?? stage.by({ short: 2, usual: 5, long: 20 })
    for (let n = 0; n < kills; n++) {
      await even(stage, 2)
      const victim = oneOf(stage, ["a", "b"])
      const had = (await stage.owners()).get(victim) ?? []
      await stage.last(stage.chance() * 1_000)
      const at = await stage.inject(`SIGKILL ${victim}`, () => stage.runner(victim).kill9())
      await stage.recovered({ what: `SIGKILL ${victim}`, at, partitions: had, within: 5_000 })
      await stage.observe(`the other tells that ${victim} is gone and has no cell`, async () => {
        const told = await ask(stage.runner(victim === "a" ? "b" : "a"), `/v1/runners/${victim}`)
        return told.state === "gone" && told.cells.length === 0 ? true : undefined
      })
      await startAgain(stage, victim)
    }
    await even(stage, 2)
  }
}

/** Others give up a runner that has been silent for 4 s. */
const GIVEN_UP_MILLIS = 4_500

export const freeze: RegionScenario = {
  kind: "region",
  id: "F3",
  name: "freeze",
  about: "SIGSTOP to a runner for 5, 30 and 120 s, then SIGCONT",
  invariants: "I1 I2 I9",
  play: async (stage) => {
    for (const seconds of stage.by({ short: [10], usual: [5, 30], long: [5, 30, 120] })) {
      await even(stage, 2)
      const victim = oneOf(stage, ["a", "b"])
      const had = (await stage.owners()).get(victim) ?? []
      const { pid } = stage.runner(victim)
      const fault = `SIGSTOP ${victim} for ${seconds} s`
      const at = await stage.inject(fault, () => process.kill(pid, "SIGSTOP"))
      const begun = performance.now()
      await stage.observe(`${victim} stands still`, async () =>
        processState(pid) === "T" ? true : undefined
      )
      const mark = { what: fault, at, partitions: had, within: 30_000 }
      const givenUp = seconds * 1_000 > 2 * GIVEN_UP_MILLIS
      if (givenUp) await stage.recovered(mark)
      await stage.last(Math.max(0, seconds * 1_000 - (performance.now() - begun)))
      process.kill(pid, "SIGCONT")
      if (givenUp) {
        await stage.observe(`${victim} finds that it was given up, and comes back`, async () => {
          const rejoined = await metric(stage, victim, "groundstate_region_rejoins_total")
          return rejoined > 0 ? true : undefined
        })
      } else await stage.recovered(mark)
      await even(stage, 2)
    }
  }
}

export const rolling: RegionScenario = {
  kind: "region",
  id: "F2",
  name: "rolling",
  about: "SIGTERM to both runners in turn, each started again",
  invariants: "I1 I13",
  play: async (stage) => {
    for (let round = 0; round < stage.by({ short: 1, usual: 2, long: 5 }); round++) {
      for (const name of ["a", "b"]) {
        await even(stage, 2)
        const had = (await stage.owners()).get(name) ?? []
        let stopped: { code: number | null; millis: number } = { code: null, millis: 0 }
        const fault = `SIGTERM ${name}`
        const at = await stage.inject(fault, async () => {
          stopped = await stage.runner(name).stop()
        })
        if (stopped.code !== 0) stage.blame(`I13: ${name} ended with code ${stopped.code}`)
        if (stopped.millis > 15_000)
          stage.blame(`I13: ${name} took ${Math.round(stopped.millis)} ms to drain, 15000 are allowed`)
        await stage.observe(`the cells of ${name} are with the other`, async () =>
          (await stage.owners()).size === 1 ? true : undefined
        )
        await startAgain(stage, name)
        await even(stage, 2)
        stage.silences({ what: fault, at, partitions: had, within: 5_000, silenceUntil: Date.now() })
      }
    }
  }
}

/** Every runner knows a device, and has an event judged, whoever owns the cell. */
const anyAnswers = async (stage: Stage, names: ReadonlyArray<string>) => {
  const device = "asked"
  const verdicts = await stage.until("a verdict from every runner", async () => {
    const event = { device, ts: Date.now(), load: 700, bytes: 1_000, kind: "run" }
    const answers = await Promise.all(
      names.map((name) => stage.runner(name).ask("POST", `/v1/score?stream=${TOPIC}`, event))
    )
    return answers.every(({ body, status }) => status === 200 && !body.fallback) ? answers : undefined
  })
  if (new Set(verdicts.map(({ body }) => body.partition)).size !== 1)
    stage.blame("runners judged one device in different cells")
  for (const name of names) {
    const { status } = await stage.runner(name).ask("GET", `/v1/devices/${device}?stream=${TOPIC}`)
    if (status !== 200) stage.blame(`${name} answered ${status} when it was asked for a device`)
  }
}

export const scale: RegionScenario = {
  kind: "region",
  id: "F5",
  name: "scale",
  about: "from two runners to four, to one, to three, to two",
  invariants: "I1 I13",
  play: async (stage) => {
    const all = Array.from({ length: 8 }, (_, partition) => partition)
    for (let round = 0; round < stage.by({ short: 1, usual: 1, long: 8 }); round++) {
      for (const wanted of stage.by({ short: [3, 2], usual: [4, 1, 3, 2], long: [4, 1, 3, 2] })) {
        const names = ["a", "b", "c", "d"]
        const fault = `${wanted} runners`
        const at = await stage.inject(fault, async () => {
          for (const [i, name] of names.entries()) {
            const runs = stage.region.runners.get(name)?.running() ?? false
            if (i < wanted && !runs) await startAgain(stage, name)
            if (i >= wanted && runs) {
              const { code } = await stage.runner(name).stop()
              if (code !== 0) stage.blame(`I13: ${name} ended with code ${code}`)
            }
          }
        })
        await even(stage, wanted)
        await stage.observe(`${wanted} runners have the cells`, async () =>
          (await stage.owners()).size === wanted ? true : undefined
        )
        await anyAnswers(stage, names.slice(0, wanted))
        await stage.last(stage.by({ short: 200, usual: 500, long: 15_000 }))
        stage.silences({ what: fault, at, partitions: all, within: 60_000, silenceUntil: Date.now() })
      }
    }
  }
}
