// A runner that has a twentieth of a core, and is not dead. F4.
import type { RegionScenario } from "../scenario.ts"
import { even } from "./runners.ts"

/** It runs for so long, and stands still for the rest of each cycle. */
const RUNS_MILLIS = 5
const CYCLE_MILLIS = 100
/** What the contract allows until the region says that something is wrong with it. */
const MARKED_WITHIN_MILLIS = 30_000

/** Lets a process run for a twentieth of the time until told to stop. */
const slowDown = (pid: number): (() => void) => {
  const stop = () => process.kill(pid, "SIGSTOP")
  let running: NodeJS.Timeout | undefined
  stop()
  const cycle = setInterval(() => {
    process.kill(pid, "SIGCONT")
    running = setTimeout(stop, RUNS_MILLIS)
  }, CYCLE_MILLIS)
  return () => {
    clearInterval(cycle)
    clearTimeout(running)
    process.kill(pid, "SIGCONT")
  }
}

export const slow: RegionScenario = {
  kind: "region",
  id: "F4",
  name: "slow",
  about: "a runner gets a twentieth of a core for up to two minutes",
  invariants: "I1 I2 I9 I13",
  play: async (stage) => {
    await even(stage, 2)
    const victim = stage.chance() < 0.5 ? "a" : "b"
    const other = victim === "a" ? "b" : "a"
    const had = (await stage.owners()).get(victim) ?? []
    const others = (await stage.owners()).get(other) ?? []
    const fault = `${victim} has a twentieth of a core`
    let heal: () => void = () => undefined
    const { pid } = stage.runner(victim)
    const at = await stage.inject(fault, () => {
      heal = slowDown(pid)
    })
    const begun = performance.now()
    try {
      await stage.observe(
        `${victim} is said to be slow: its cells are with the other, or wait, or it says that it is not ready`,
        async () => {
          const ready = await fetch(`${stage.runner(victim).url}/readyz`, {
            signal: AbortSignal.timeout(2_000)
          }).then(
            ({ status }) => status,
            () => 503
          )
          return ready === 200 ? undefined : true
        },
        MARKED_WITHIN_MILLIS
      )
      if (performance.now() - begun > MARKED_WITHIN_MILLIS)
        stage.blame(
          `I13: ${victim} was said to be slow only after ${Math.round(performance.now() - begun)} ms`
        )
      // The other's cells must not notice.
      await stage.recovered({ what: `${fault}, cells of ${other}`, at, partitions: others, within: 5_000 })
      await stage.last(
        stage.by({ short: 10_000, usual: 30_000, long: 120_000 }) - (performance.now() - begun)
      )
    } finally {
      heal()
    }
    await stage.recovered({
      what: `${victim} is as fast as before`,
      at: Date.now(),
      partitions: had,
      within: 30_000
    })
    await even(stage, 2)
  }
}
