//! A straight line through exact pairs, with slow forgetting, outlier refusal and step detection.
//!
//! Sums are kept about a moving origin so that hours of nanoseconds lose no precision in `f64`. With forgetting time `tau`
//! the weight of a pair falls to 1/e after `tau`; the line then follows a drift that changes slowly against `tau`.

/// How a [`LineFit`] judges pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineFitOptions {
    /// Nominal slope (units of y per unit of x).
    pub slope: f64,
    /// The slope may differ from nominal by this fraction at most (crystals: 500e-6 is generous).
    pub slope_tolerance: f64,
    /// Forgetting time in units of x.
    pub tau_x: f64,
    /// A pair further from the line than this is refused (units of y).
    pub outlier_y: f64,
    /// After this many refusals in a row the clock has stepped: the fit restarts.
    pub outliers_max: u32,
    /// What is known of the slope beside the pairs; without, it is looked for from the fourth pair on.
    pub memory: Option<SlopeMemory>,
}

/// How much a slope counts that no pair of the present fit has told. A crystal keeps its rate when its counter restarts.
///
/// Each counts as one pair of weight 1 so far from all others (units of x).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlopeMemory {
    /// The nominal slope, before anything is known.
    pub nominal_x: f64,
    /// The slope of the fit before a restart, at most.
    pub known_x: f64,
}

/// What became of a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Taken in; the residual before it was taken in (y minus line; zero for the first).
    Taken(f64),
    /// Refused as an outlier; its distance from the line.
    Refused(f64),
    /// Refusals in a row: the fit restarted from this pair.
    Restarted(f64),
}

/// A line `y = y0 + slope * (x - x0)` fitted recursively.
#[derive(Clone, Debug)]
pub struct LineFit {
    options: LineFitOptions,
    x0: i64,
    y0: i64,
    weight: f64,
    sx: f64,
    sy: f64,
    sxx: f64,
    sxy: f64,
    last_x: i64,
    first_x: i64,
    pairs: u64,
    refused_in_row: u32,
    squared_residual: f64,
    /// Remembered slope beyond nominal, and what it counts (units of weight times x squared).
    remembered: (f64, f64),
}

impl LineFit {
    /// An empty fit.
    pub fn new(options: LineFitOptions) -> Self {
        Self {
            options,
            x0: 0,
            y0: 0,
            weight: 0.0,
            sx: 0.0,
            sy: 0.0,
            sxx: 0.0,
            sxy: 0.0,
            last_x: 0,
            first_x: 0,
            pairs: 0,
            refused_in_row: 0,
            squared_residual: 0.0,
            remembered: (0.0, options.memory.map_or(0.0, |memory| memory.nominal_x.powi(2))),
        }
    }

    /// Takes the pair in, refuses it, or restarts from it.
    pub fn push(&mut self, x: i64, y: i64) -> Verdict {
        self.push_weighted(x, y, 1.0)
    }

    /// As [`push`](Self::push), with a pair that counts as `weight` pairs (above 0).
    pub fn push_weighted(&mut self, x: i64, y: i64, weight: f64) -> Verdict {
        let Some(predicted) = self.predict(x) else {
            self.restart(x, y, weight);
            return Verdict::Taken(0.0);
        };
        let residual = (y - predicted.0) as f64 - predicted.1;
        // A young fit knows its slope only to the tolerance, so the gate is wider the further it reaches.
        let reach = if self.pairs < 8 {
            (x - self.last_x).abs() as f64 * self.options.slope * self.options.slope_tolerance
        } else {
            0.0
        };
        if residual.abs() > self.options.outlier_y + reach {
            self.refused_in_row += 1;
            if self.refused_in_row > self.options.outliers_max {
                self.restart(x, y, weight);
                return Verdict::Restarted(residual);
            }
            return Verdict::Refused(residual);
        }
        self.refused_in_row = 0;
        self.take(x, y, weight, residual);
        Verdict::Taken(residual)
    }

    /// Lets every pair so far count `factor` times what it did.
    pub fn fade(&mut self, factor: f64) {
        for sum in [&mut self.weight, &mut self.sx, &mut self.sy, &mut self.sxx, &mut self.sxy] {
            *sum *= factor;
        }
    }

    /// Forgets every pair; the slope is remembered where the options say so.
    pub fn forget(&mut self) {
        let remembered = self.remember();
        *self = Self { remembered, ..Self::new(self.options) };
    }

    /// Line value at `x` as an exact integer part and a fraction, or `None` before the first pair.
    pub fn predict(&self, x: i64) -> Option<(i64, f64)> {
        if self.pairs == 0 {
            return None;
        }
        let dx = (x - self.x0) as f64;
        let nominal = self.options.slope * dx;
        let (offset, extra) = self.solve();
        let value = nominal + offset + extra * dx;
        let whole = value.floor();
        Some((self.y0 + whole as i64, value - whole))
    }

    /// Fitted slope.
    pub fn slope(&self) -> f64 {
        self.options.slope + self.solve().1
    }

    /// Pairs taken since the last restart.
    pub fn pairs(&self) -> u64 {
        self.pairs
    }

    /// Root mean square of recent residuals, in units of y.
    pub fn rms_y(&self) -> f64 {
        self.squared_residual.sqrt()
    }

    /// First and last x of the fit.
    pub fn range_x(&self) -> (i64, i64) {
        (self.first_x, self.last_x)
    }

    fn restart(&mut self, x: i64, y: i64, weight: f64) {
        self.forget();
        (self.x0, self.y0, self.last_x, self.first_x) = (x, y, x, x);
        (self.weight, self.pairs) = (weight, 1);
    }

    fn remember(&self) -> (f64, f64) {
        let Some(memory) = self.options.memory.filter(|_| self.pairs > 0) else { return self.remembered };
        let known = (self.spread() + self.remembered.1).min(memory.known_x.powi(2));
        (self.solve().1, known)
    }

    fn take(&mut self, x: i64, y: i64, weight: f64, residual: f64) {
        self.move_origin(x);
        let keep = (-((x - self.last_x).max(0) as f64) / self.options.tau_x).exp();
        self.weight *= keep;
        self.sx *= keep;
        self.sy *= keep;
        self.sxx *= keep;
        self.sxy *= keep;
        let dx = (x - self.x0) as f64;
        let dy = (y - self.y0) as f64 - self.options.slope * dx;
        self.weight += weight;
        self.sx += weight * dx;
        self.sy += weight * dy;
        self.sxx += weight * dx * dx;
        self.sxy += weight * dx * dy;
        self.last_x = self.last_x.max(x);
        self.pairs += 1;
        let blend = 1.0 / (self.pairs.min(64) as f64);
        self.squared_residual += blend * (residual * residual - self.squared_residual);
    }

    /// Moves the origin to `x` when it has fallen far behind, so that the sums stay small.
    fn move_origin(&mut self, x: i64) {
        if ((x - self.x0) as f64) < 2.0 * self.options.tau_x {
            return;
        }
        let dx = (x - self.x0) as f64;
        let nominal = (self.options.slope * dx).round();
        let dy = nominal - self.options.slope * dx;
        // Shift of the coordinates by (dx, dy) applied to the weighted sums.
        self.sxy += -dy * self.sx - dx * self.sy + self.weight * dx * dy;
        self.sxx += -2.0 * dx * self.sx + self.weight * dx * dx;
        self.sx -= self.weight * dx;
        self.sy -= self.weight * dy;
        self.x0 = x;
        self.y0 += nominal as i64;
    }

    /// Weighted sum of squares of x about its mean.
    fn spread(&self) -> f64 {
        (self.sxx - self.sx * self.sx / self.weight).max(0.0)
    }

    /// Offset at the origin and slope beyond nominal: least squares, the remembered slope among the observations.
    fn solve(&self) -> (f64, f64) {
        let (remembered, counts) = self.remembered;
        if self.pairs == 0 {
            return (0.0, remembered);
        }
        let known = self.spread() + counts;
        let is_told = self.pairs >= 4 || counts > 0.0;
        if !is_told || known <= 0.0 {
            return (self.sy / self.weight, 0.0);
        }
        let limit = self.options.slope * self.options.slope_tolerance;
        let told = self.sxy - self.sx * self.sy / self.weight + counts * remembered;
        let extra = (told / known).clamp(-limit, limit);
        ((self.sy - extra * self.sx) / self.weight, extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: LineFitOptions = LineFitOptions {
        slope: 1.0,
        slope_tolerance: 500e-6,
        tau_x: 30e9,
        outlier_y: 200_000.0,
        outliers_max: 4,
        memory: None,
    };

    /// 20 ms pairs of a clock that runs `ppm` fast.
    fn pair(index: i64, ppm: f64) -> (i64, i64) {
        let x = index * 20_000_000;
        (x, 7_000_000_000 + x + (x as f64 * ppm * 1e-6).round() as i64)
    }

    #[test]
    fn a_drifting_clock_is_followed_for_hours() {
        let mut fit = LineFit::new(OPTIONS);
        for index in 0..500_000 {
            let (x, y) = pair(index, 73.0);
            let verdict = fit.push(x, y);
            if index > 10 {
                assert!(matches!(verdict, Verdict::Taken(r) if r.abs() < 1_000.0), "{index}: {verdict:?}");
            }
        }
        assert!((fit.slope() - 1.0 - 73e-6).abs() < 1e-9, "slope {}", fit.slope());
        assert!(fit.rms_y() < 10.0);
    }

    #[test]
    fn one_outlier_is_refused_and_a_step_restarts() {
        let mut fit = LineFit::new(OPTIONS);
        for index in 0..100 {
            let (x, y) = pair(index, 10.0);
            fit.push(x, y);
        }
        let (x, y) = pair(100, 10.0);
        assert!(matches!(fit.push(x, y + 5_000_000), Verdict::Refused(_)));
        assert!(matches!(fit.push(x, y), Verdict::Taken(_)));
        let verdicts: Vec<Verdict> =
            (101..110).map(|i| pair(i, 10.0)).map(|(x, y)| fit.push(x, y + 9_000_000)).collect();
        assert!(matches!(verdicts[4], Verdict::Restarted(_)), "{verdicts:?}");
        assert!(matches!(verdicts[8], Verdict::Taken(_)));
    }

    #[test]
    fn a_remembered_slope_serves_from_the_first_pair_after_a_restart_and_yields_to_what_is_seen() {
        let memory = Some(SlopeMemory { nominal_x: 100e6, known_x: 10e9 });
        let mut fit = LineFit::new(LineFitOptions { memory, ..OPTIONS });
        (0..2_000).map(|i| pair(i, 50.0)).for_each(|(x, y)| _ = fit.push(x, y));
        fit.forget();
        assert_eq!(fit.predict(0), None);
        fit.push(1_000, 77);
        assert!((fit.slope() - 1.0 - 50e-6).abs() < 0.5e-6, "slope {}", fit.slope());
        (0..5_000).map(|i| pair(i, 55.0)).for_each(|(x, y)| _ = fit.push(x + 1_000, y - 7_000_000_000 + 77));
        assert!((fit.slope() - 1.0 - 55e-6).abs() < 0.1e-6, "slope {}", fit.slope());
    }

    #[test]
    fn a_pair_of_little_weight_moves_little() {
        let mut fit = LineFit::new(OPTIONS);
        for index in 0..100 {
            let (x, y) = pair(index, 10.0);
            fit.push(x, y);
            fit.push_weighted(x, y + 100_000, 1e-6);
        }
        let (x, y) = pair(100, 10.0);
        let (whole, part) = fit.predict(x).expect("fitted");
        assert!(((whole - y) as f64 + part).abs() < 5.0, "{} ns off", whole - y);
    }

    #[test]
    fn an_empty_fit_predicts_nothing() {
        assert_eq!(LineFit::new(OPTIONS).predict(5), None);
    }
}
