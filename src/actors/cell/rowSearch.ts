// Where in a batch an offset begins.

/** First row of offsets[from, to) whose offset is at least `offset`; `to` if none. Offsets ascend. */
export const firstRowFrom = (offsets: Float64Array, from: number, to: number, offset: number): number => {
  let low = from
  let high = to
  while (low < high) {
    const middle = (low + high) >>> 1
    if (offsets[middle] < offset) low = middle + 1
    else high = middle
  }
  return low
}
