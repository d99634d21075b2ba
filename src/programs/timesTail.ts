// Which time the latest N of any number of records begin at, in room for 2 N of them.

/** Keeps the latest `last` times it is given. */
export class TimesTail {
  private readonly times: Float64Array
  private readonly last: number
  private count = 0

  constructor(last: number) {
    this.last = last
    this.times = new Float64Array(2 * last)
  }

  add(time: number): void {
    if (this.count === this.times.length) this.drop()
    this.times[this.count++] = time
  }

  private drop(): void {
    const sorted = this.times.subarray(0, this.count).sort()
    this.times.copyWithin(0, this.count - this.last, this.count)
    this.count = Math.min(this.last, sorted.length)
  }

  /** The first of the latest times, and how many of the latest have just this one. */
  first(): { readonly time: number; readonly ties: number } {
    if (this.count > this.last) this.drop()
    const held = this.times.subarray(0, this.count).sort()
    if (held.length === 0) return { time: Number.NEGATIVE_INFINITY, ties: 0 }
    const time = held[0]
    let ties = 0
    while (ties < held.length && held[ties] === time) ties++
    return { time, ties }
  }
}
