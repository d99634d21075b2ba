// Where actors lie: cells and others have slots, and each slot is a shard group of its own.

/** Slots of a region. Each is a shard group of one shard, so that its owner is ours to choose. Never changed on a live region. */
export const SLOTS = 64

/** The shard group of a slot. */
export const groupOf = (slot: number): string => `slot-${String(slot).padStart(2, "0")}`

export const slotGroups: ReadonlyArray<string> = Array.from({ length: SLOTS }, (_, slot) => groupOf(slot))

/** FNV-1a, so that the same name has the same slot in every version and on every machine. */
const hashOf = (text: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** Partitions of a stream lie in slots one after the other; streams begin at different ones. */
export const slotOfCell = (stream: string, partition: number): number => (hashOf(stream) + partition) % SLOTS

/** Any other actor's slot. */
export const slotOfName = (name: string): number => hashOf(name) % SLOTS

/** The shard group of a cell, by its entity id. */
export const groupOfCell = (id: string): string => {
  const { stream, partition } = parseCellId(id)
  return groupOf(slotOfCell(stream, partition))
}

/** The shard group of any other actor, by its entity id. */
export const groupOfName = (id: string): string => groupOf(slotOfName(id))

/** A cell's entity id. */
export const cellId = (stream: string, partition: number): string => `${stream}/${partition}`

/** The stream and partition that a cell's entity id names. */
export const parseCellId = (id: string): { readonly stream: string; readonly partition: number } => {
  const slash = id.lastIndexOf("/")
  return { stream: id.slice(0, slash), partition: Number(id.slice(slash + 1)) }
}
