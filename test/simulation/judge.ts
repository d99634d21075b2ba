// What must hold when all is over, by the ids of the invariants.
import { Effect } from "effect"
import { restoreCell } from "../../src/actors/cell/CellPersistence.ts"
import type { CellChange } from "../../src/schema/protocol/CellProtocol.ts"
import { ALERT_TOPIC, alertCloudEvent } from "../../src/schema/verdict/alertCloudEvent.ts"
import { DEAD_LETTER_TOPIC } from "../../src/services/ingest/DeadLetters.ts"
import { Settings } from "../../src/services/runtime/Settings.ts"
import { Checkpoint } from "../../src/services/state/Checkpoint.ts"
import { stateOf } from "../support/stateOf.ts"
import { openGate } from "./gate.ts"
import type { ActorTables } from "./memoryActors.ts"
import { type CheckpointTables, type DoneWrite, memoryCheckpoint } from "./memoryCheckpoint.ts"
import type { LogEntry, LogRecord, LogTables } from "./memoryLog.ts"
import { undisturbed } from "./reference.ts"
import type { CommandAnswer } from "./runner.ts"
import { KEY, plan, settings } from "./scenario.ts"

/** A command, and what its operator heard. */
export interface Ask {
  readonly id: string
  readonly change: CellChange
  /** Steps of the world. */
  readonly askedAt: number
  answeredAt: number
  readonly answers: Array<CommandAnswer>
}

/** How much was durable where it belongs when a checkpoint was stored. */
export interface SavePoint {
  readonly epoch: number
  readonly nextOffset: number
  readonly records: number
  readonly letters: number
  readonly taken: number
}

export interface Traces {
  readonly entries: ReadonlyArray<LogEntry>
  readonly asks: ReadonlyArray<Ask>
  readonly writes: ReadonlyArray<DoneWrite>
  readonly saves: ReadonlyArray<SavePoint>
  readonly tables: CheckpointTables
  readonly actors: ActorTables
  readonly log: LogTables
}

const text = new TextDecoder()
const recordsOf = (log: LogTables, topic: string): ReadonlyArray<{ readonly id: string }> =>
  (log.topics.get(topic)?.[0].entries ?? []).map((entry) =>
    JSON.parse(text.decode((entry as LogRecord).value ?? undefined))
  )

/** A sentence about each difference between two maps. */
const differences = (
  what: string,
  found: ReadonlyMap<string, unknown>,
  expected: ReadonlyMap<string, unknown>
): ReadonlyArray<string> => [
  ...[...expected.keys()].filter((id) => !found.has(id)).map((id) => `${what} ${id} is missing`),
  ...[...found.keys()].filter((id) => !expected.has(id)).map((id) => `${what} ${id} should not be`),
  ...[...found].flatMap(([id, one]) =>
    expected.has(id) && JSON.stringify(one) !== JSON.stringify(expected.get(id))
      ? [`${what} ${id} is ${JSON.stringify(one)}, not ${JSON.stringify(expected.get(id))}`]
      : []
  )
]

export const judge = ({
  actors,
  asks,
  entries,
  log,
  saves,
  tables,
  writes
}: Traces): ReadonlyArray<string> => {
  const broken: Array<string> = []
  const commands = tables.of(KEY).commands
  const expected = undisturbed(entries, commands)

  // I9, and the checkpoint's own promises.
  let newest = 0
  for (const { epoch, what } of writes) {
    if (epoch < newest) broken.push(`I9: ${what} of epoch ${epoch} after one of epoch ${newest}`)
    newest = Math.max(newest, epoch)
  }
  saves.forEach(({ nextOffset }, i) => {
    if (i > 0 && nextOffset < saves[i - 1].nextOffset) {
      broken.push(`I2: a checkpoint at ${nextOffset} after one at ${saves[i - 1].nextOffset}`)
    }
  })

  // I3: alerts on the topic and in the devices' records.
  const sent = recordsOf(log, ALERT_TOPIC)
  const events = new Map(
    [...expected.alerts].map(([id, alert]) => [
      id,
      JSON.parse(JSON.stringify(alertCloudEvent(settings.region, alert)))
    ])
  )
  const found = new Map<string, unknown>()
  for (const event of sent) {
    if (found.has(event.id)) {
      broken.push(
        ...differences(
          "I3: copy of alert",
          new Map([[event.id, event]]),
          new Map([[event.id, found.get(event.id)]])
        )
      )
    } else found.set(event.id, event)
  }
  broken.push(...differences("I3: alert", found, events))
  broken.push(...differences("I2: taken alert", actors.alerts, expected.alerts))
  broken.push(
    ...differences(
      "I2: incident of",
      new Map([...actors.devices.values()].map(({ device, incident }) => [device, incident])),
      expected.devices
    )
  )

  // I4: dead letters.
  const letters = recordsOf(log, DEAD_LETTER_TOPIC)
  const asRecord = (letter: { readonly bytes: Uint8Array }) => ({
    ...letter,
    bytes: Buffer.from(letter.bytes).toString("base64")
  })
  broken.push(
    ...differences(
      "I4: dead letter",
      new Map(letters.map((letter) => [letter.id, letter])),
      new Map([...expected.letters].map(([id, letter]) => [id, asRecord(letter)]))
    )
  )

  // What lies below a stored offset is where it belongs.
  for (const { letters: lettersThen, nextOffset, records, taken } of saves) {
    const there = new Set(sent.slice(0, records).map(({ id }) => id))
    const takenThen = new Set([...actors.alerts.keys()].slice(0, taken))
    const buried = new Set(letters.slice(0, lettersThen).map(({ id }) => id))
    for (const { id, offset } of expected.alerts.values()) {
      if (offset >= nextOffset) continue
      if (!there.has(id)) broken.push(`I3: alert ${id} was not sent when ${nextOffset} was stored`)
      if (!takenThen.has(id)) broken.push(`I3: alert ${id} was not taken when ${nextOffset} was stored`)
    }
    for (const { id, offset } of expected.letters.values()) {
      if (offset < nextOffset && !buried.has(id)) {
        broken.push(`I4: dead letter ${id} was not written when ${nextOffset} was stored`)
      }
    }
  }

  // Commands: each once, at the offset that was answered, in the order in which they were asked for.
  const recorded = new Map(commands.map((command) => [command.commandId, command]))
  if (recorded.size < commands.length) broken.push("I2: a command was recorded twice")
  for (const { answers, change, id } of asks) {
    const command = recorded.get(id)
    // One that was sent twice at once may be refused, and taken the second time: its model was there by then.
    const taken = answers.findIndex((answer) => answer._tag === "Recorded" && answer.fresh)
    for (const [at, answer] of answers.entries()) {
      if (answer._tag === "Refused" && command !== undefined && at > taken) {
        broken.push(`I2: command ${id} was refused (${answer.detail}), and holds from ${command.fromOffset}`)
      }
      if (answer._tag === "Recorded" && answer.offset !== command?.fromOffset) {
        broken.push(
          `I2: command ${id} was to hold from ${answer.offset}, and holds from ${command?.fromOffset}`
        )
      }
    }
    if (command !== undefined && JSON.stringify(command.change) !== JSON.stringify(change)) {
      broken.push(`I2: command ${id} is another change`)
    }
  }
  for (const first of asks) {
    for (const second of asks) {
      const [a, b] = [recorded.get(first.id), recorded.get(second.id)]
      if (a === undefined || b === undefined || first.answeredAt >= second.askedAt) continue
      if (a.fromOffset > b.fromOffset || (a.fromOffset === b.fromOffset && a.seq > b.seq)) {
        broken.push(`I2: command ${second.id} overtook ${first.id}, which had been answered before`)
      }
    }
  }

  // I1 I2: the state, bit by bit.
  const restored = Effect.runSync(
    restoreCell(KEY, plan, tables.of(KEY).epoch).pipe(
      Effect.map(({ core }) => stateOf(core)),
      Effect.provideService(Checkpoint, memoryCheckpoint(tables, openGate)),
      Effect.provideService(Settings, settings),
      Effect.catchTag("CorruptState", (error) => Effect.succeed({ corrupt: error.message }))
    )
  )
  broken.push(
    ...differences(
      "I1 I2: state:",
      new Map(Object.entries(restored)),
      new Map(Object.entries(expected.state))
    )
  )
  return broken
}
