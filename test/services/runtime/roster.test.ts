// Who is in a region, as told to those who ask.
import { expect, it } from "vitest"
import { slotOfCell } from "../../../src/schema/protocol/slots.ts"
import { planStream } from "../../../src/schema/stream/StreamPlan.ts"
import type { Member, RegionView } from "../../../src/services/runtime/Membership.ts"
import { cellIds, rosterOf } from "../../../src/services/runtime/roster.ts"
import { flows } from "../inspect/samples.ts"

const streams = [{ definition: flows, plan: planStream(flows), topic: "flows", partitions: 4 }]

const member = (name: string, more: Partial<Member> = {}): Member => ({
  address: `${name}:7070`,
  name,
  incarnation: `groundstate ${name}`,
  state: "active",
  http: `http://${name}:8080`,
  version: "0.1.0",
  startedAt: 5,
  silentMillis: 200,
  able: true,
  awayMillis: 0,
  steadyMillis: 60_000,
  ...more
})

/** The four cells of `flows` owned like this, in order of partitions. */
const view = (members: ReadonlyArray<Member>, owners: ReadonlyArray<string | undefined>): RegionView => {
  const slots: Array<string | undefined> = Array.from({ length: 64 }, () => undefined)
  owners.forEach((owner, partition) => {
    slots[slotOfCell("flows", partition)] = owner
  })
  return { members, slots, readAt: 1_000 }
}

it("gives each runner the cells whose slots it owns; those that work come first", () => {
  const roster = rosterOf(
    view(
      [
        member("c", { state: "dead", silentMillis: 9_000 }),
        member("b", { state: "draining" }),
        member("z"),
        member("a", { version: "" })
      ],
      ["a:7070", "b:7070", "a:7070", undefined]
    ),
    streams,
    1_000
  )
  expect(roster.map(({ id, state, cells, version }) => [id, state, cells, version])).toEqual([
    ["a", "alive", ["flows/0", "flows/2"], null],
    ["z", "alive", [], "0.1.0"],
    ["b", "draining", ["flows/1"], "0.1.0"],
    ["c", "gone", [], "0.1.0"]
  ])
})

it("lets heartbeats age while the tables can't be read", () => {
  const roster = rosterOf(view([member("a")], []), streams, 31_000)
  expect(roster[0].heartbeatAgeSeconds).toBe(30.2)
})

it("names every cell", () => {
  expect(cellIds(streams)).toEqual(["flows/0", "flows/1", "flows/2", "flows/3"])
})
