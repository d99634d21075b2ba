// Who has which part of a region: slots go to runners, evenly and with few moves.
import { SLOTS, slotOfCell } from "../../schema/protocol/slots.ts"

/** The streams that have a cell in each slot, once per cell. */
export const cellsBySlot = (
  streams: ReadonlyArray<{ readonly stream: string; readonly partitions: number }>
): ReadonlyArray<ReadonlyArray<string>> => {
  const slots: Array<Array<string>> = Array.from({ length: SLOTS }, () => [])
  for (const { stream, partitions } of streams) {
    for (let partition = 0; partition < partitions; partition++)
      slots[slotOfCell(stream, partition)].push(stream)
  }
  return slots
}

interface Load {
  readonly runner: string
  /** Weight of its slots. */
  weight: number
  readonly slots: Set<number>
}

/**
 * Moves as little as it can from the present owners to a division in which no runner has more than it must, by number
 * of cells first, then of slots without cells. Among slots that would do as well, one is moved whose streams are the
 * most uneven. Answers the owner of each slot; undefined where there is no runner.
 */
export const assignSlots = (
  cells: ReadonlyArray<ReadonlyArray<string>>,
  runners: ReadonlyArray<string>,
  current: ReadonlyArray<string | undefined>
): ReadonlyArray<string | undefined> => {
  const owners: Array<string | undefined> = cells.map(() => undefined)
  if (runners.length === 0) return owners
  const sorted = [...runners].sort()
  const divide = (slots: ReadonlyArray<number>, weightOf: (slot: number) => number) => {
    const loads: ReadonlyArray<Load> = sorted.map((runner) => ({ runner, weight: 0, slots: new Set() }))
    const give = (load: Load, slot: number) => {
      load.slots.add(slot)
      load.weight += weightOf(slot)
    }
    const take = (load: Load, slot: number) => {
      load.slots.delete(slot)
      load.weight -= weightOf(slot)
    }
    /** How many cells of this slot's streams the runner has. */
    const kin = (load: Load, slot: number): number => {
      let count = 0
      for (const other of load.slots) {
        for (const stream of cells[other]) if (cells[slot].includes(stream)) count++
      }
      return count
    }
    const orphans: Array<number> = []
    for (const slot of slots) {
      const owner = loads.find((load) => load.runner === current[slot])
      if (owner === undefined) orphans.push(slot)
      else give(owner, slot)
    }
    // The heaviest first, so that light ones fill what is left uneven.
    for (const slot of orphans.sort((a, b) => weightOf(b) - weightOf(a) || a - b)) {
      const least = Math.min(...loads.map((load) => load.weight))
      const candidates = loads.filter((load) => load.weight === least)
      give(
        candidates.reduce((best, load) => (kin(load, slot) < kin(best, slot) ? load : best)),
        slot
      )
    }
    for (;;) {
      const most = loads.reduce((best, load) => (load.weight > best.weight ? load : best))
      const least = loads.reduce((best, load) => (load.weight < best.weight ? load : best))
      const gap = most.weight - least.weight
      let chosen = -1
      let worth = Number.NEGATIVE_INFINITY
      for (const slot of most.slots) {
        if (weightOf(slot) >= gap) continue
        const value = kin(most, slot) - kin(least, slot) - Math.abs(gap / 2 - weightOf(slot)) * SLOTS
        if (value > worth) {
          worth = value
          chosen = slot
        }
      }
      if (chosen < 0) break
      take(most, chosen)
      give(least, chosen)
    }
    for (const load of loads) for (const slot of load.slots) owners[slot] = load.runner
  }
  const all = cells.map((_, slot) => slot)
  divide(
    all.filter((slot) => cells[slot].length > 0),
    (slot) => cells[slot].length
  )
  divide(
    all.filter((slot) => cells[slot].length === 0),
    () => 1
  )
  return owners
}
