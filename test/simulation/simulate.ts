// One schedule: owners come, freeze, die and are followed while events and commands arrive; then all must be as if not.
import { Layer } from "effect"
import type { CellChange } from "../../src/schema/protocol/CellProtocol.ts"
import { ALERT_TOPIC } from "../../src/schema/verdict/alertCloudEvent.ts"
import { DEAD_LETTER_TOPIC } from "../../src/services/ingest/DeadLetters.ts"
import { seeded } from "../support/folding.ts"
import { type Ask, judge, type SavePoint } from "./judge.ts"
import { makeActorTables, memoryActors } from "./memoryActors.ts"
import { type DoneWrite, makeCheckpointTables, memoryCheckpoint } from "./memoryCheckpoint.ts"
import { makeLogTables, memoryLog } from "./memoryLog.ts"
import { type Ports, type SimulatedRunner, startRunner } from "./runner.ts"
import { KEY, makeChanges, makeEntries, TOPIC } from "./scenario.ts"
import { FAIR, makeWorld, type World } from "./world.ts"

/** Steps within which a world without faults must have brought everything to its end. */
const SETTLE_STEPS_MAX = 60_000
const EVENTS_MAX = 70
const COMMANDS_MAX = 6
const MODEL_SEED = 1_000_003

/** A wrong protocol, as the simulation sees it through its ports; for showing that it is found. */
export interface Mutation {
  readonly fence?: boolean
  readonly deviceFence?: boolean
  readonly ports?: (ports: Ports, world: World) => Ports
}

export interface Verdict {
  readonly seed: number
  /** What was broken; empty if nothing was. */
  readonly broken: ReadonlyArray<string>
  readonly steps: number
  readonly faults: Readonly<Record<string, number>>
  readonly schedule: () => string
}

export const simulate = (seed: number, mutation: Mutation = {}): Verdict => {
  const chance = seeded(seed)
  const world = makeWorld(chance)
  return world.owned(() => play(seed, world, mutation))
}

const play = (seed: number, world: World, mutation: Mutation): Verdict => {
  const { below, chance, oneIn } = world
  const faults: Record<string, number> = {}
  const count = (what: string) => {
    faults[what] = (faults[what] ?? 0) + 1
  }
  const writes: Array<DoneWrite> = []
  const saves: Array<SavePoint> = []
  const log = makeLogTables()
  const actors = makeActorTables()
  const tables = makeCheckpointTables((write) => {
    writes.push(write)
    if (write.what === "save") {
      saves.push({
        epoch: write.epoch,
        nextOffset: write.nextOffset,
        records: log.topics.get(ALERT_TOPIC)![0].entries.length,
        letters: log.topics.get(DEAD_LETTER_TOPIC)?.[0].entries.length ?? 0,
        taken: actors.alerts.size
      })
    }
  })
  for (const topic of [TOPIC, ALERT_TOPIC]) log.topics.set(topic, [{ entries: [], waiting: new Set() }])
  const entries = log.topics.get(TOPIC)![0].entries

  // Processes.
  const runners: Array<SimulatedRunner> = []
  let owner: SimulatedRunner
  let blurred = true
  // Of its own: whether a model can be opened changes nothing of what else happens.
  const modelChance = seeded(seed + MODEL_SEED)
  const take = () => {
    const process = world.start(`r${runners.length}`)
    const gate = world.gateOf(process)
    const ports: Ports = {
      log: memoryLog(log, gate, () => world.now, {
        // A fetch sees the log as it was a while ago, and takes a part of that.
        records: (available) =>
          available === 0 ? 0 : blurred ? below(Math.min(available, 12) + 1) : available,
        end: (end, seen) => (blurred && oneIn(3) ? seen + below(end - seen + 1) : end)
      }),
      store: memoryCheckpoint(tables, gate, mutation),
      hasModel: () => {
        const has = !blurred || modelChance() > 0.5
        if (!has) count("model away")
        return has
      },
      actors: Layer.succeedContext(
        memoryActors(actors, tables, gate, { fence: mutation.deviceFence ?? true })
      )
    }
    world.note(process.name, "is the owner")
    owner = startRunner(world, process, mutation.ports?.(ports, world) ?? ports)
    runners.push(owner)
  }
  take()
  /** Runners that do not know yet that their shard has gone. */
  const unaware = () => runners.filter((one) => one !== owner && !one.over() && !told.has(one))
  const told = new Set<SimulatedRunner>()
  const tell = (runner: SimulatedRunner) => {
    told.add(runner)
    if (runner.over()) return
    runner.stop()
  }
  const frozen = () => runners.filter(({ process }) => process.state === "frozen")
  const thaw = (runner: SimulatedRunner) => {
    runner.process.state = "running"
    world.note(runner.process.name, "goes on")
  }

  // Events and commands.
  const nextEntries = makeEntries(chance)
  const nextChange = makeChanges(chance)
  const append = () => log.put(TOPIC, KEY.partition, nextEntries(entries.length))
  const asks: Array<Ask & { again: number }> = []
  const ask = (at: SimulatedRunner, one: (typeof asks)[number]) => {
    one.again = world.steps + 200
    world.note(at.process.name, `is asked for ${one.id}: ${JSON.stringify(one.change)}`)
    at.command(one.id, one.change, (answer) => {
      world.note(at.process.name, `answers ${one.id}: ${JSON.stringify(answer)}`)
      if (answer._tag !== "Unavailable") {
        one.answers.push(answer)
        one.answeredAt = Math.min(one.answeredAt, world.steps)
      }
    })
  }
  const newAsk = (change: CellChange) => {
    const id = `c${asks.length}`
    asks.push({
      id,
      change,
      askedAt: world.steps,
      answeredAt: Number.POSITIVE_INFINITY,
      answers: [],
      again: 0
    })
    return asks[asks.length - 1]
  }
  const unanswered = () => asks.filter((one) => one.answers.length === 0)
  const alive = () => runners.filter(({ process }) => process.state === "running")

  const act = () => {
    const fate = below(100)
    if (fate < 50) {
      for (let more = 1 + below(6); more > 0 && entries.length < EVENTS_MAX; more--) append()
    } else if (fate < 60) {
      const open = unanswered()
      const one =
        open.length > 0 && oneIn(2)
          ? open[below(open.length)]
          : asks.length < COMMANDS_MAX
            ? newAsk(nextChange())
            : undefined
      const whom = alive()
      // Mostly the owner; now and then one that was it.
      if (one !== undefined && whom.length > 0)
        ask(oneIn(4) ? whom[below(whom.length)] : (alive().find((it) => it === owner) ?? whom[0]), one)
    } else if (fate < 66) {
      count("kill")
      if (!owner.over()) world.kill(owner.process)
      if (oneIn(2)) take()
    } else if (fate < 74) {
      const living = alive()
      if (living.length > 0) {
        const one = living[below(living.length)]
        one.process.state = "frozen"
        world.note(one.process.name, "freezes")
        count("freeze")
      }
    } else if (fate < 82) {
      const cold = frozen()
      if (cold.length > 0) thaw(cold[below(cold.length)])
    } else if (fate < 88) {
      count("takeover")
      take()
    } else if (fate < 92) {
      count("hand over")
      const old = owner
      if (oneIn(2)) {
        tell(old)
        take()
      } else {
        take()
        tell(old)
      }
    } else if (fate < 96) {
      const old = unaware()
      if (old.length > 0) tell(old[below(old.length)])
    } else {
      world.setWeather(oneIn(2) ? FAIR : { refused: below(150), unheard: below(150) })
    }
  }

  world.setWeather({ refused: below(60), unheard: below(60) })
  for (let acts = 35 + below(30); acts > 0; acts--) {
    for (let steps = oneIn(2) ? below(12) : below(150); steps > 0; steps--) if (!world.step()) break
    act()
  }

  // Faults end: whoever is left comes to the end of the log, and everybody has an answer.
  world.note("", "faults end")
  world.setWeather(FAIR)
  blurred = false
  for (const one of frozen()) thaw(one)
  if (owner!.over() || told.has(owner!)) take()
  for (const one of unaware()) tell(one)
  while (entries.length < 20) append()
  let stuck: string | undefined
  const until = (what: string, reached: () => boolean) => {
    const last = world.steps + SETTLE_STEPS_MAX
    while (stuck === undefined && !reached()) {
      if (world.steps > last || !world.step()) {
        const alive = runners.filter((one) => !one.over()).map(({ process }) => process.name)
        stuck = `${what} was not reached, with ${alive.join(", ")} alive`
      }
    }
  }
  const status = () => owner.handle()?.status()
  until("an answer to every command", () => {
    const open = unanswered()
    for (const one of open) if (one.again < world.steps) ask(owner, one)
    return open.length === 0
  })
  until("the end of the log", () => {
    const now = status()
    const pending = owner.handle()?.context?.commands.length ?? 0
    if (now?.offset !== entries.length || pending > 0) return false
    if (now.epoch === tables.of(KEY).epoch) return true
    // A claim that had been on its way has come: an idle owner finds out with its next write.
    if (oneIn(1_000)) append()
    return false
  })
  tell(owner!)
  until("the last owner's end", () => runners.every((one) => one.over()))

  const broken =
    stuck === undefined
      ? judge({ entries, asks, writes, saves, tables, actors, log })
      : [`I1 I13: ${stuck}; the owner says ${JSON.stringify(status())}`]
  return {
    seed,
    broken,
    steps: world.steps,
    faults,
    schedule: () =>
      world.trace
        .map(
          ([steps, now, process, what]) =>
            `${String(steps).padStart(6)} ${now.toFixed(1).padStart(8)} ms  ${process.padEnd(4)}${what}`
        )
        .join("\n")
  }
}
