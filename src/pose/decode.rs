//! Network outputs to sub-pixel peaks with confidence. Pure; allocates nothing.

use super::PoseError;
use super::manifest::{Decode, Layout, NetworkSpec, Refine, Response, Spread};
use super::network::Output;

/// Where a network saw a keypoint, in pixels of its own input image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Peak {
    pub(super) x_px: f32,
    pub(super) y_px: f32,
    /// 0 to 1; 0 with `finite == false` where the output was not a number.
    pub(super) confidence: f32,
    pub(super) finite: bool,
}

impl Peak {
    const UNSEEN: Self = Self { x_px: 0.0, y_px: 0.0, confidence: 0.0, finite: true };
    const NOT_FINITE: Self = Self { x_px: 0.0, y_px: 0.0, confidence: 0.0, finite: false };
}

/// Where a volumetric network put a keypoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    /// From the volume's centre, world axes, metres.
    pub(super) offset_m: [f64; 3],
    /// 0 to 1.
    pub(super) confidence: f32,
    /// Standard deviation along an axis, metres; 0 where the graph does not say.
    pub(super) spread_m: f32,
    /// Whether the outputs were numbers.
    pub(super) finite: bool,
}

impl Place {
    const UNSEEN: Self = Self { offset_m: [0.0; 3], confidence: 0.0, spread_m: 0.0, finite: true };
}

/// Cells on each side of the peak that the mean position and the mass are taken over.
const WINDOW_CELLS: usize = 2;

/// A map's place in a tensor: `values[start + row * row_step + column * column_step]`.
#[derive(Clone, Copy)]
struct Map<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl Map<'_> {
    fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.row_step + column * self.column_step]
    }
}

/// Reads peaks out of a graph's outputs as its manifest says.
pub(super) struct Decoder {
    decode: Decode,
    keypoints: usize,
    /// Input pixels of one cell, and input pixel of the first.
    stride_px: [f32; 2],
    first_cell_px: [f32; 2],
    rows: usize,
    columns: usize,
    /// Bins of the two rows of a `simcc` graph.
    bins: [usize; 2],
}

impl Decoder {
    /// Checks the shapes of `outputs` (in the manifest's order) for `batch` images and `keypoints` names.
    pub(super) fn new(
        spec: &NetworkSpec,
        keypoints: usize,
        batch: usize,
        outputs: &[Output],
    ) -> Result<Self, PoseError> {
        let refuse = |output: &Output, expected: String| {
            let reason = format!("the file gives {:?}; expected {expected}", output.shape);
            Err(PoseError::graph(&spec.file, format!("output {:?}", output.name), reason))
        };
        let mut decoder = Self {
            decode: spec.decode.clone(),
            keypoints,
            stride_px: [1.0; 2],
            first_cell_px: [0.0; 2],
            rows: 0,
            columns: 0,
            bins: [0; 2],
        };
        match &spec.decode {
            Decode::Heatmap { layout, first_cell_px, .. } => {
                if !decoder.set_grid(spec, *layout, &outputs[0].shape, batch, *first_cell_px, -0.5) {
                    return refuse(&outputs[0], grid_in_words(*layout, batch, keypoints));
                }
            }
            Decode::HeatmapOffsets { layout, first_cell_px, .. } => {
                if !decoder.set_grid(spec, *layout, &outputs[0].shape, batch, *first_cell_px, 0.0) {
                    return refuse(&outputs[0], grid_in_words(*layout, batch, keypoints));
                }
                let (rows, columns) = (decoder.rows, decoder.columns);
                let expected = match layout {
                    Layout::Nchw => vec![batch, 2 * keypoints, rows, columns],
                    Layout::Nhwc => vec![batch, rows, columns, 2 * keypoints],
                };
                if outputs[1].shape != expected {
                    return refuse(&outputs[1], format!("{expected:?} (x and y for each keypoint)"));
                }
            }
            Decode::Simcc { bins_per_px, .. } => {
                let bins = [spec.width_px, spec.height_px].map(|n| (n as f32 * bins_per_px).round() as usize);
                for (output, bins) in outputs.iter().zip(bins) {
                    if output.shape != [batch, keypoints, bins] {
                        return refuse(output, format!("{:?} (batch, keypoints, bins)", [batch, keypoints, bins]));
                    }
                }
                decoder.bins = bins;
                decoder.stride_px = [1.0 / bins_per_px; 2];
            }
            Decode::Volume { spread, views, .. } => {
                if let Some((output, expected)) =
                    volume_misfit(outputs, [batch, keypoints], spread.is_some(), views.is_some())
                {
                    return refuse(output, expected);
                }
            }
            Decode::Peaks { instances, .. } => {
                for (output, each) in outputs.iter().zip([2, 1]) {
                    let total: usize = output.shape.iter().product();
                    if output.shape.first() != Some(&batch) || total != batch * instances * keypoints * each {
                        return refuse(output, format!("{batch} x {instances} x {keypoints} x {each}, batch first"));
                    }
                }
            }
        }
        Ok(decoder)
    }

    /// Takes rows and columns from a score output's shape; `false` when it does not fit.
    fn set_grid(
        &mut self,
        spec: &NetworkSpec,
        layout: Layout,
        shape: &[usize],
        batch: usize,
        first_cell_px: Option<f32>,
        from_half_stride: f32,
    ) -> bool {
        let &[images, a, b, c] = shape else { return false };
        let (maps, rows, columns) = match layout {
            Layout::Nchw => (a, b, c),
            Layout::Nhwc => (c, a, b),
        };
        if images != batch || maps != self.keypoints || rows < 2 || columns < 2 {
            return false;
        }
        (self.rows, self.columns) = (rows, columns);
        self.stride_px = [spec.width_px as f32 / columns as f32, spec.height_px as f32 / rows as f32];
        self.first_cell_px = self.stride_px.map(|stride| first_cell_px.unwrap_or(0.5 * stride + from_half_stride));
        true
    }

    /// Whether the graph says what single views show; a volume may not.
    pub(super) fn tells_views(&self) -> bool {
        !matches!(self.decode, Decode::Volume { views: None, .. })
    }

    /// The peak of `keypoint` in image `image` of the batch.
    pub(super) fn peak(&self, outputs: &[Output], image: usize, keypoint: usize) -> Peak {
        match &self.decode {
            Decode::Heatmap { layout, response, refine, spread, .. } => {
                let map = self.map(outputs[0].values(), *layout, image, keypoint, self.keypoints);
                match refine {
                    Refine::Whole => self.whole_map(&map, *response, *spread),
                    _ => self.heatmap_peak(&map, *response, *refine),
                }
            }
            Decode::HeatmapOffsets { layout, response, offset_unit_px, .. } => {
                let scores = self.map(outputs[0].values(), *layout, image, keypoint, self.keypoints);
                let Some((row, column, value)) = highest(&scores) else { return Peak::NOT_FINITE };
                let offset = |axis: usize| {
                    let map = self.map(outputs[1].values(), *layout, image, 2 * keypoint + axis, 2 * self.keypoints);
                    map.at(row, column) * offset_unit_px
                };
                self.peak_at(column as f32, row as f32, confidence(value, *response), [offset(0), offset(1)])
            }
            Decode::Simcc { .. } => self.simcc_peak(outputs, image * self.keypoints + keypoint),
            Decode::Volume { views: None, .. } => Peak::UNSEEN,
            Decode::Volume { spread, .. } => {
                let values = outputs[2 + usize::from(spread.is_some())].values();
                let [x_px, y_px, confidence] = values.as_chunks::<3>().0[image * self.keypoints + keypoint];
                finite_peak(x_px, y_px, confidence.clamp(0.0, 1.0))
            }
            Decode::Peaks { instances, .. } => {
                let (positions, values) = (outputs[0].values(), outputs[1].values());
                let candidates = (0..*instances).map(|i| (image * instances + i) * self.keypoints + keypoint);
                candidates
                    .filter(|&at| positions[2 * at].is_finite() && positions[2 * at + 1].is_finite())
                    .max_by(|&a, &b| values[a].total_cmp(&values[b]))
                    .map_or(Peak::UNSEEN, |at| finite_peak(positions[2 * at], positions[2 * at + 1], values[at]))
            }
        }
    }

    /// The place of `keypoint` that a volumetric graph gives.
    pub(super) fn place(&self, outputs: &[Output], keypoint: usize) -> Place {
        let Decode::Volume { unit_m, sure, spread, .. } = &self.decode else { return Place::UNSEEN };
        let at = &outputs[0].values()[3 * keypoint..3 * keypoint + 3];
        let offset_m = [0, 1, 2].map(|axis| f64::from(at[axis] * unit_m));
        let confidence = outputs[1].values()[keypoint] / sure;
        let spread_m = spread.as_ref().map_or(0.0, |_| outputs[2].values()[keypoint] * unit_m);
        if offset_m.iter().all(|v| v.is_finite()) && confidence.is_finite() && spread_m.is_finite() {
            Place { offset_m, confidence: confidence.clamp(0.0, 1.0), spread_m, finite: true }
        } else {
            Place { finite: false, ..Place::UNSEEN }
        }
    }

    fn map<'a>(&self, values: &'a [f32], layout: Layout, image: usize, map: usize, maps: usize) -> Map<'a> {
        let cells = self.rows * self.columns;
        let (start, row_step, column_step) = match layout {
            Layout::Nchw => ((image * maps + map) * cells, self.columns, 1),
            Layout::Nhwc => (image * cells * maps + map, self.columns * maps, maps),
        };
        Map { values: &values[start..], rows: self.rows, columns: self.columns, row_step, column_step }
    }

    fn heatmap_peak(&self, map: &Map<'_>, response: Response, refine: Refine) -> Peak {
        let Some((row, column, value)) = highest(map) else { return Peak::NOT_FINITE };
        let total = if response == Response::Softmax { exp_sum(map, value) } else { 1.0 };
        let weight = |v: f32| match response {
            Response::Softmax => (v - value).exp() / total,
            Response::Sigmoid => logistic(v),
            Response::Peak | Response::Probability => v.max(0.0),
        };
        let (mut mass, mut x_sum, mut y_sum) = (0.0, 0.0, 0.0);
        for r in row.saturating_sub(WINDOW_CELLS)..(row + WINDOW_CELLS + 1).min(map.rows) {
            for c in column.saturating_sub(WINDOW_CELLS)..(column + WINDOW_CELLS + 1).min(map.columns) {
                let w = weight(map.at(r, c));
                mass += w;
                x_sum += w * c as f32;
                y_sum += w * r as f32;
            }
        }
        let confidence = match response {
            Response::Probability | Response::Softmax => mass.clamp(0.0, 1.0),
            Response::Peak | Response::Sigmoid => confidence(value, response),
        };
        let (x, y) = match refine {
            Refine::Mean if mass > 0.0 => (x_sum / mass, y_sum / mass),
            Refine::Quadratic => {
                let along = |before: Option<f32>, after: Option<f32>| match (before, after) {
                    (Some(before), Some(after)) => vertex(before, value, after),
                    _ => 0.0,
                };
                let left = (column > 0).then(|| map.at(row, column - 1));
                let right = (column + 1 < map.columns).then(|| map.at(row, column + 1));
                let above = (row > 0).then(|| map.at(row - 1, column));
                let below = (row + 1 < map.rows).then(|| map.at(row + 1, column));
                (column as f32 + along(left, right), row as f32 + along(above, below))
            }
            Refine::Mean | Refine::None | Refine::Whole => (column as f32, row as f32),
        };
        self.peak_at(x, y, confidence, [0.0; 2])
    }

    /// The mean of a map that sums to one, and its spread or its mass near the mean as confidence.
    fn whole_map(&self, map: &Map<'_>, response: Response, spread: Option<Spread>) -> Peak {
        let top = if response == Response::Softmax {
            let Some((_, _, top)) = highest(map) else { return Peak::NOT_FINITE };
            Some(top)
        } else {
            None
        };
        let moments = Moments::of(map, top);
        if !moments.is_finite() {
            return Peak::NOT_FINITE;
        }
        if !(moments.mass > 0.0) {
            return Peak::UNSEEN;
        }
        let [x, y] = moments.mean();
        let confidence = match spread {
            Some(spread) => {
                let [sx, sy] = moments.variance();
                let variance = 0.5 * (sx * self.stride_px[0].powi(2) + sy * self.stride_px[1].powi(2));
                let excess = (variance - spread.sure_px.powi(2)).max(0.0);
                1.0 / (1.0 + excess / spread.half_px.powi(2))
            }
            None => mass_near(map, [x, y], top) / moments.mass,
        };
        self.peak_at(x, y, confidence, [0.0; 2])
    }

    fn simcc_peak(&self, outputs: &[Output], at: usize) -> Peak {
        let row = |axis: usize| {
            let bins = self.bins[axis];
            let values = &outputs[axis].values()[at * bins..(at + 1) * bins];
            let map = Map { values, rows: 1, columns: bins, row_step: bins, column_step: 1 };
            highest(&map).map(|(_, bin, value)| (bin as f32, value))
        };
        let (Some((x, x_value)), Some((y, y_value))) = (row(0), row(1)) else { return Peak::NOT_FINITE };
        self.peak_at(x, y, x_value.min(y_value).clamp(0.0, 1.0), [0.0; 2])
    }

    fn peak_at(&self, column: f32, row: f32, confidence: f32, offset_px: [f32; 2]) -> Peak {
        let x = self.first_cell_px[0] + column * self.stride_px[0] + offset_px[0];
        let y = self.first_cell_px[1] + row * self.stride_px[1] + offset_px[1];
        finite_peak(x, y, confidence)
    }
}

/// Columns that are summed at once, in lanes that the compiler vectorises.
const BLOCK: usize = 8;

/// Sums over a map: of its values, and of its values times column, column², row, row².
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    mass: f32,
    column: [f32; 2],
    row: [f32; 2],
}

impl Moments {
    /// Of the map's values, or of `exp(value - top)`.
    fn of(map: &Map<'_>, top: Option<f32>) -> Self {
        let mut sums = Self::default();
        let blocks = if map.column_step == 1 && top.is_none() { map.columns / BLOCK } else { 0 };
        for block in 0..blocks {
            sums.add_block(map, block * BLOCK);
        }
        for column in blocks * BLOCK..map.columns {
            let x = column as f32;
            for row in 0..map.rows {
                let (value, y) = (map.at(row, column), row as f32);
                let value = top.map_or(value, |top| (value - top).exp());
                sums.mass += value;
                sums.column[0] += value * x;
                sums.column[1] += value * x * x;
                sums.row[0] += value * y;
                sums.row[1] += value * y * y;
            }
        }
        sums
    }

    /// Adds [`BLOCK`] columns. Sums of sums of sums down a column give its moments without a multiplication: a value
    /// `k` rows above the end is counted `k` times in the second and `k (k + 1) / 2` times in the third.
    fn add_block(&mut self, map: &Map<'_>, column: usize) {
        let (mut once, mut twice, mut thrice) = ([0.0f32; BLOCK], [0.0f32; BLOCK], [0.0f32; BLOCK]);
        for row in 0..map.rows {
            let Some(values) = map.values[row * map.row_step + column..].first_chunk::<BLOCK>() else { return };
            for lane in 0..BLOCK {
                once[lane] += values[lane];
                twice[lane] += once[lane];
                thrice[lane] += twice[lane];
            }
        }
        let rows = map.rows as f32;
        for lane in 0..BLOCK {
            let (x, mass) = ((column + lane) as f32, once[lane]);
            let (by_k, by_k2) = (twice[lane], 2.0 * thrice[lane] - twice[lane]);
            self.mass += mass;
            self.column[0] += mass * x;
            self.column[1] += mass * x * x;
            self.row[0] += rows * mass - by_k;
            self.row[1] += rows * rows * mass - 2.0 * rows * by_k + by_k2;
        }
    }

    fn is_finite(&self) -> bool {
        [self.mass, self.column[1], self.row[1]].iter().all(|sum| sum.is_finite())
    }

    /// Column and row.
    fn mean(&self) -> [f32; 2] {
        [self.column[0] / self.mass, self.row[0] / self.mass]
    }

    /// Along columns and rows, square cells.
    fn variance(&self) -> [f32; 2] {
        let [x, y] = self.mean();
        [self.column[1] / self.mass - x * x, self.row[1] / self.mass - y * y]
    }
}

/// Sum of the map's values (or of `exp(value - top)`) within [`WINDOW_CELLS`] of a place.
fn mass_near(map: &Map<'_>, at: [f32; 2], top: Option<f32>) -> f32 {
    let around = |centre: f32, cells: usize| {
        let cell = (centre.round().max(0.0) as usize).min(cells - 1);
        cell.saturating_sub(WINDOW_CELLS)..(cell + WINDOW_CELLS + 1).min(cells)
    };
    let cells = around(at[1], map.rows).flat_map(|r| around(at[0], map.columns).map(move |c| (r, c)));
    cells.map(|(r, c)| top.map_or(map.at(r, c), |top| (map.at(r, c) - top).exp())).sum()
}

fn finite_peak(x_px: f32, y_px: f32, confidence: f32) -> Peak {
    if x_px.is_finite() && y_px.is_finite() && confidence.is_finite() {
        Peak { x_px, y_px, confidence: confidence.clamp(0.0, 1.0), finite: true }
    } else {
        Peak::NOT_FINITE
    }
}

/// The output of a volumetric graph that does not fit, and what it should be.
fn volume_misfit(
    outputs: &[Output],
    [batch, keypoints]: [usize; 2],
    has_spread: bool,
    has_views: bool,
) -> Option<(&Output, String)> {
    let sizes = [3, 1].into_iter().chain(has_spread.then_some(1));
    for (output, each) in outputs.iter().zip(sizes) {
        if output.shape.iter().product::<usize>() != keypoints * each {
            return Some((output, format!("{:?} (keypoints, values)", [keypoints, each])));
        }
    }
    let views = outputs.last().filter(|output| has_views && output.shape != [batch, keypoints, 3])?;
    Some((views, format!("{:?} (views, keypoints, values)", [batch, keypoints, 3])))
}

fn grid_in_words(layout: Layout, batch: usize, keypoints: usize) -> String {
    match layout {
        Layout::Nchw => format!("[{batch}, {keypoints}, rows, columns]"),
        Layout::Nhwc => format!("[{batch}, rows, columns, {keypoints}]"),
    }
}

fn logistic(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}

fn confidence(value: f32, response: Response) -> f32 {
    if response == Response::Sigmoid { logistic(value) } else { value.clamp(0.0, 1.0) }
}

fn exp_sum(map: &Map<'_>, highest: f32) -> f32 {
    let cells = (0..map.rows).flat_map(|r| (0..map.columns).map(move |c| (r, c)));
    cells.map(|(r, c)| (map.at(r, c) - highest).exp()).sum()
}

/// Offset of the parabola's vertex from the middle sample, at most half a cell.
fn vertex(before: f32, middle: f32, after: f32) -> f32 {
    let bend = before - 2.0 * middle + after;
    if bend < 0.0 { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 }
}

/// Row, column and value of the highest cell; `None` when any cell is not finite.
fn highest(map: &Map<'_>) -> Option<(usize, usize, f32)> {
    const LANES: usize = 8;
    let mut best: Option<(usize, f32)> = None;
    let mut sum = 0.0f32;
    for row in 0..map.rows {
        let value = if map.column_step == 1 {
            let cells = &map.values[row * map.row_step..][..map.columns];
            let (mut lanes, mut sums) = ([f32::MIN; LANES], [0.0; LANES]);
            let chunks = cells.chunks_exact(LANES);
            for &cell in chunks.remainder() {
                sums[0] += cell;
                lanes[0] = if cell > lanes[0] { cell } else { lanes[0] };
            }
            for chunk in chunks {
                for lane in 0..LANES {
                    sums[lane] += chunk[lane];
                    lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
                }
            }
            sum += sums.iter().sum::<f32>();
            lanes.iter().fold(f32::MIN, |a, &b| if b > a { b } else { a })
        } else {
            let cells = (0..map.columns).map(|c| map.at(row, c));
            sum += cells.clone().sum::<f32>();
            cells.fold(f32::MIN, |a, b| if b > a { b } else { a })
        };
        if best.is_none_or(|(_, highest)| value > highest) {
            best = Some((row, value));
        }
    }
    let (row, value) = best.filter(|_| sum.is_finite())?;
    let column = (0..map.columns).find(|&c| map.at(row, c) == value)?;
    Some((row, column, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_blocks_are_those_of_the_definition() {
        // Blocks and a rest, in rows wider than the map.
        let (rows, columns, row_step) = (29, 21, 24);
        let values: Vec<f32> = (0..rows * row_step).map(|i| ((i * 37) % 101) as f32 / 101.0).collect();
        let map = Map { values: &values, rows, columns, row_step, column_step: 1 };
        let found = Moments::of(&map, None);
        let cells = || (0..rows).flat_map(|row| (0..columns).map(move |column| (row as f64, column as f64)));
        let sum = |weight: fn(f64, f64) -> f64| -> f64 {
            cells().map(|(row, column)| f64::from(map.at(row as usize, column as usize)) * weight(row, column)).sum()
        };
        for (found, expected) in [
            (found.mass, sum(|_, _| 1.0)),
            (found.column[0], sum(|_, column| column)),
            (found.column[1], sum(|_, column| column * column)),
            (found.row[0], sum(|row, _| row)),
            (found.row[1], sum(|row, _| row * row)),
        ] {
            assert!((f64::from(found) / expected - 1.0).abs() < 1e-5, "{found}, not {expected}");
        }
    }
}
