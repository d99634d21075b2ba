// The runners of a region with what each has, from the two tables and the streams. Pure.
import type { RunnerView } from "../../schema/api/RegionApi.ts"
import { cellId, slotOfCell } from "../../schema/protocol/slots.ts"
import type { Member, MemberState, RegionView } from "./Membership.ts"
import type { ServedStream } from "./Streams.ts"

const states: Readonly<Record<MemberState, RunnerView["state"]>> = {
  active: "alive",
  draining: "draining",
  dead: "gone"
}
/** Those that work come first. */
const order: ReadonlyArray<RunnerView["state"]> = ["alive", "draining", "gone"]

/** Ids of all cells, in the order of streams and partitions. */
export const cellIds = (streams: ReadonlyArray<ServedStream>): ReadonlyArray<string> =>
  streams.flatMap(({ plan, partitions }) =>
    Array.from({ length: partitions }, (_, partition) => cellId(plan.stream, partition))
  )

/**
 * One entry per runner, by state and name. `now` is the clock of `view.readAt`: with the database away the ages of all
 * heartbeats grow, as nobody is heard.
 */
export const rosterOf = (
  view: RegionView,
  streams: ReadonlyArray<ServedStream>,
  now: number
): ReadonlyArray<RunnerView> => {
  const cells = new Map<string, Array<string>>()
  for (const { plan, partitions } of streams) {
    for (let partition = 0; partition < partitions; partition++) {
      const owner = view.slots[slotOfCell(plan.stream, partition)]
      if (owner === undefined) continue
      const list = cells.get(owner) ?? []
      list.push(cellId(plan.stream, partition))
      cells.set(owner, list)
    }
  }
  const entryOf = (member: Member): RunnerView => ({
    id: member.name,
    address: member.address,
    http: member.http,
    version: member.version === "" ? null : member.version,
    startedAt: member.startedAt,
    state: states[member.state],
    heartbeatAgeSeconds: Math.max(0, member.silentMillis + now - view.readAt) / 1_000,
    cells: member.state === "dead" ? [] : (cells.get(member.address) ?? [])
  })
  return view.members
    .map(entryOf)
    .sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state) || (a.id < b.id ? -1 : 1))
}
