// How the cell's arrays grow: doubling while small, by a small share when large, so that slack stays small.

/** Length from which growth is by a share. */
const LARGE = 65_536

/** A new length ≥ `needed` for an array of `length` entries; when large it grows by 2^−shift of itself. */
export const grownLength = (length: number, needed: number, shift = 4): number => {
  let grown = Math.max(1, length)
  while (grown < needed) grown = grown < LARGE ? grown * 2 : grown + (grown >>> shift)
  return grown
}
