use super::*;

const MS: i64 = 1_000_000;

struct Bench {
    engine: RuleEngine,
    table: SignalTable,
    first: SignalIndex,
    out: Vec<Decision>,
}

impl Bench {
    fn new(toml: &str) -> Self {
        let (names, first) = names();
        let engine = RuleEngine::new(&rules(toml), &names, Span::from_millis(40)).unwrap();
        Self { engine, table: SignalTable::new(&names), first, out: Vec::with_capacity(8) }
    }

    /// Sets `h` at `at_ms`, judges, and returns what was decided.
    fn pass(&mut self, at_ms: i64, h: f64) -> Vec<Outcome> {
        self.table.set(self.first, BoardTime::from_nanos(at_ms * MS), h);
        self.judge(at_ms)
    }

    fn judge(&mut self, at_ms: i64) -> Vec<Outcome> {
        self.out.clear();
        self.engine.evaluate(BoardTime::from_nanos(at_ms * MS), &self.table, &mut self.out);
        self.out.iter().map(|decision| decision.outcome).collect()
    }

    /// Times (ms) at which a series of values, one each 10 ms, made the rule fire.
    fn fired(&mut self, values: &[f64]) -> Vec<i64> {
        let at = |index: usize| index as i64 * 10;
        (0..values.len()).filter(|&i| self.pass(at(i), values[i]).contains(&Outcome::Fired)).map(at).collect()
    }
}

fn names() -> (SignalNames, SignalIndex) {
    let mut names = SignalNames::new();
    let first = names.extend(["pose.Snout.height_m", "time.recording_s"]);
    (names, first)
}

fn rules(toml: &str) -> Vec<RuleConfig> {
    #[derive(serde::Deserialize)]
    struct File {
        rule: Vec<RuleConfig>,
    }
    toml::from_str::<File>(&format!("[[rule]]\nname = \"rear\"\noutput = 1\n{toml}")).unwrap().rule
}

#[test]
fn a_rule_fires_once_a_crossing() {
    let mut bench = Bench::new("when = 'pose.Snout.height_m > 0.08'\nrefractory_millis = 0");
    assert_eq!(bench.fired(&[0.05, 0.09, 0.1, 0.07, 0.09, 0.05]), [10, 40]);
    assert_eq!(bench.engine.len(), 1);
}

#[test]
fn hysteresis_swallows_chatter() {
    let mut bench = Bench::new(
        "when = 'pose.Snout.height_m > 0.08'\nrelease = 'pose.Snout.height_m < 0.06'\nrefractory_millis = 0",
    );
    assert_eq!(bench.fired(&[0.09, 0.07, 0.09, 0.07, 0.05, 0.09]), [0, 50]);
}

#[test]
fn the_condition_must_hold_without_a_break() {
    let mut bench = Bench::new("when = 'pose.Snout.height_m > 0.08'\nhold_millis = 20\nrefractory_millis = 0");
    assert_eq!(bench.fired(&[0.09, 0.09, 0.05, 0.09, 0.09, 0.09, 0.09]), [50]);
}

#[test]
fn crossings_within_the_refractory_time_are_passed_over() {
    let mut bench = Bench::new("when = 'pose.Snout.height_m > 0.08'\nrefractory_millis = 35");
    assert_eq!(bench.fired(&[0.09, 0.05, 0.09, 0.05, 0.09, 0.05]), [0, 40]);
    let mut bench = Bench::new("when = 'pose.Snout.height_m > 0.08'\nrefractory_millis = 35\nrepeat = true");
    assert_eq!(bench.fired(&[0.09; 10]), [0, 40, 80]);
}

#[test]
fn stale_invalid_and_unknown_inputs_refuse_once_and_end_holding() {
    let mut bench = Bench::new("when = 'pose.Snout.height_m > 0.08'\nhold_millis = 30\nrefractory_millis = 0");
    assert_eq!(bench.judge(0), [Outcome::Refused(Refusal::Unknown)]);
    assert_eq!(bench.judge(1), []);
    assert_eq!(bench.pass(10, 0.09), []);
    assert_eq!(bench.judge(51), [Outcome::Refused(Refusal::Stale)], "41 ms old");
    assert_eq!(bench.out[0].oldest(), Some(Span::from_millis(41)));
    assert_eq!(bench.judge(60), []);
    assert_eq!(bench.pass(70, 0.09), [], "holding began anew");
    assert_eq!(bench.pass(80, f64::NAN), [Outcome::Refused(Refusal::Invalid)]);
    assert_eq!(bench.pass(90, 0.09), []);
    assert_eq!(bench.pass(120, 0.09), [Outcome::Fired]);
}

#[test]
fn shams_come_at_their_rate_and_drive_nothing() {
    let mut bench =
        Bench::new("when = 'pose.Snout.height_m > 0.08'\nsham_probability = 0.3\nrefractory_millis = 0\nmark = 'up'");
    let mut shams = 0;
    for round in 0..2_000 {
        bench.pass(round * 20, 0.05);
        let outcome = bench.pass(round * 20 + 10, 0.09);
        assert_eq!(outcome.len(), 1);
        shams += usize::from(outcome[0] == Outcome::Sham);
        assert_eq!(bench.out[0].pulses.is_some(), outcome[0] == Outcome::Fired);
        assert!(bench.out[0].mark);
    }
    assert!((500..700).contains(&shams), "{shams}");
}

#[test]
fn blocks_count_from_the_recordings_start() {
    let toml = "when = 'pose.Snout.height_m > 0.08'\nrefractory_millis = 0\nblocks_s = [[0.0, 0.03], [1.0, 2.0]]";
    let mut bench = Bench::new(toml);
    assert_eq!(bench.fired(&[0.09, 0.05, 0.09]), [] as [i64; 0], "no recording, no blocks");
    let mut bench = Bench::new(toml);
    bench.engine.set_zero(Some(BoardTime::from_nanos(20 * MS)));
    assert_eq!(bench.fired(&[0.09, 0.05, 0.09, 0.05, 0.09, 0.05, 0.09]), [20, 40]);
}

#[test]
fn a_train_is_placed_in_board_time() {
    let mut bench = Bench::new(
        "when = 'pose.Snout.height_m > 0.08'\ndelay_micros = 500\npulses = 3\npulse_micros = 100\npulse_period_micros = 2_000",
    );
    bench.pass(0, 0.09);
    let train = bench.out[0].pulses.unwrap();
    let rises: Vec<_> = train.rises(BoardTime::ZERO).map(|at| at.unwrap().nanos() / 1_000).collect();
    assert_eq!(rises, [500, 2_500, 4_500]);
    assert_eq!(bench.out[0].inputs().count(), 1);
}

#[test]
fn time_that_runs_back_starts_every_rule_anew() {
    let mut bench = Bench::new("when = 'pose.Snout.height_m > 0.08'\nrefractory_millis = 1000");
    assert_eq!(bench.pass(5_000, 0.09), [Outcome::Fired]);
    assert_eq!(bench.pass(10, 0.09), [Outcome::Fired], "the board was reset");
}

#[test]
fn errors_name_rule_key_text_and_the_nearest_signal() {
    let (names, _) = names();
    let text = "when = 'pose.snout.height_m > 0.08'\nrelease = 'time.recording_s <'";
    let errors = RuleEngine::new(&rules(text), &names, Span::from_millis(40)).unwrap_err();
    let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "rule.rear.when = \"pose.snout.height_m > 0.08\": at character 1: no signal is called pose.snout.height_m; \
             the nearest is pose.Snout.height_m",
            "rule.rear.release = \"time.recording_s <\": at character 19: found the end, expected a number, a signal, a \
             function or '('",
        ]
    );
}

#[test]
fn evaluating_keeps_to_the_room_it_was_given() {
    let mut bench = Bench::new("when = 'pose.Snout.height_m > 0.08'\nrefractory_millis = 0\nrepeat = true");
    let place = bench.out.as_ptr();
    for at in 0..1_000 {
        bench.pass(at, 0.09);
    }
    assert_eq!(bench.out.as_ptr(), place);
}
