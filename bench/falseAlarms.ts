// How many of m fresh normal rows may alarm where p-values are counted among n calibration rows and hold.

/**
 * The 99 % interval of the number of rows with p ≤ share. For exchangeable rows it is beta-binomial: which share
 * of all normal rows lies above the k-th highest of n calibration energies is itself a draw, Beta(k, n + 1 − k)
 * with k = share · (n + 1), and the fresh rows are a binomial draw from it.
 */
export const falseAlarmInterval = (
  share: number,
  calibrationRows: number,
  freshRows: number
): { readonly low: number; readonly high: number } => {
  const a = share * (calibrationRows + 1)
  const b = calibrationRows + 1 - a
  let log = 0
  for (let i = 0; i < freshRows; i++) log += Math.log((b + i) / (a + b + i))
  let mass = Math.exp(log)
  let sum = 0
  let low = -1
  let x = 0
  for (; x < freshRows; x++) {
    sum += mass
    if (low < 0 && sum > 0.005) low = x
    if (sum >= 0.995) break
    log += Math.log(((freshRows - x) * (a + x)) / ((x + 1) * (b + freshRows - x - 1)))
    mass = Math.exp(log)
  }
  return { low: Math.max(0, low), high: x }
}
