// A record on which the cell's own code threw: known by its place, so that it can be set aside.

/** Thrown by the slice that met it; `first` to `last` are the offsets of the slice, one record when careful. */
export class PoisonRecord extends Error {
  readonly first: number
  readonly last: number
  constructor(first: number, last: number, cause: unknown) {
    super(`records ${first} to ${last} could not be processed: ${String(cause)}`, { cause })
    this.first = first
    this.last = last
  }
}
