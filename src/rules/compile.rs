//! Conditions as short programs over a small fixed stack: evaluating one allocates nothing.

use super::error::RuleErrorKind;
use super::parse::{Function, Node, Operator, parse};
use super::signals::{SignalIndex, SignalNames};

/// Different signals one rule may look at; each decision carries them all with their ages.
pub const INPUTS_MAX: usize = 8;
/// Values that may wait on the stack.
const STACK_MAX: usize = 16;

/// One step of a program.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Number(f64),
    /// The rule's input of this place.
    Input(u8),
    Negate,
    Not,
    Binary(Operator),
    Call(Function),
}

/// A condition ready to run. Truth is 1, falsehood 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Program {
    steps: Vec<Step>,
}

/// What an expression yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Truth,
}

impl Program {
    /// Compiles `text`; adds the signals it names to `inputs`.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once where possible.
    pub(super) fn compile(
        text: &str,
        names: &SignalNames,
        inputs: &mut Vec<SignalIndex>,
    ) -> Result<Self, Vec<RuleErrorKind>> {
        let node =
            parse(text).map_err(|error| vec![RuleErrorKind::Syntax { offset: error.offset, reason: error.reason }])?;
        let mut compiler = Compiler { names, inputs, steps: Vec::new(), depth: 0, depth_max: 0, errors: Vec::new() };
        if compiler.add(&node) != Kind::Truth {
            compiler.errors.push(RuleErrorKind::NotACondition);
        }
        if compiler.depth_max > STACK_MAX {
            compiler.errors.push(RuleErrorKind::TooDeep { depth: compiler.depth_max, depth_max: STACK_MAX });
        }
        if compiler.inputs.len() > INPUTS_MAX {
            compiler.errors.push(RuleErrorKind::TooManySignals { count: compiler.inputs.len(), count_max: INPUTS_MAX });
        }
        if compiler.errors.is_empty() { Ok(Self { steps: compiler.steps }) } else { Err(compiler.errors) }
    }

    /// Whether the condition holds for these input values; `None` if a value on the way is not finite.
    pub(super) fn holds(&self, inputs: &[f64]) -> Option<bool> {
        let mut stack = [0.0; STACK_MAX];
        let mut top = 0;
        for step in &self.steps {
            let (value, used) = match *step {
                Step::Number(number) => (number, 0),
                Step::Input(place) => (inputs[usize::from(place)], 0),
                Step::Negate => (-stack[top - 1], 1),
                Step::Not => (1.0 - stack[top - 1], 1),
                Step::Binary(operator) => (binary(operator, stack[top - 2], stack[top - 1]), 2),
                Step::Call(Function::Abs) => (stack[top - 1].abs(), 1),
                Step::Call(Function::Sqrt) => (stack[top - 1].sqrt(), 1),
                Step::Call(Function::Min) => (stack[top - 2].min(stack[top - 1]), 2),
                Step::Call(Function::Max) => (stack[top - 2].max(stack[top - 1]), 2),
                Step::Call(Function::Hypot) => (stack[top - 2].hypot(stack[top - 1]), 2),
            };
            if !value.is_finite() {
                return None;
            }
            top -= used;
            stack[top] = value;
            top += 1;
        }
        Some(stack[0] == 1.0)
    }
}

fn binary(operator: Operator, a: f64, b: f64) -> f64 {
    let truth = |holds: bool| f64::from(u8::from(holds));
    match operator {
        Operator::Or => a.max(b),
        Operator::And => a.min(b),
        Operator::Less => truth(a < b),
        Operator::LessEqual => truth(a <= b),
        Operator::Greater => truth(a > b),
        Operator::GreaterEqual => truth(a >= b),
        Operator::Equal => truth(a == b),
        Operator::NotEqual => truth(a != b),
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
    }
}

struct Compiler<'a> {
    names: &'a SignalNames,
    inputs: &'a mut Vec<SignalIndex>,
    steps: Vec<Step>,
    depth: usize,
    depth_max: usize,
    errors: Vec<RuleErrorKind>,
}

impl Compiler<'_> {
    fn add(&mut self, node: &Node) -> Kind {
        match node {
            Node::Number(number) => self.leaf(Step::Number(*number)),
            Node::Signal { name, offset } => {
                let place = self.input(name, *offset);
                self.leaf(Step::Input(place))
            }
            Node::Negate(inner) => {
                self.expect(inner, Kind::Number);
                self.steps.push(Step::Negate);
                Kind::Number
            }
            Node::Not(inner) => {
                self.expect(inner, Kind::Truth);
                self.steps.push(Step::Not);
                Kind::Truth
            }
            Node::Binary { operator, left, right } => {
                let wanted = if operator.joins_truths() { Kind::Truth } else { Kind::Number };
                self.expect(left, wanted);
                self.expect(right, wanted);
                self.steps.push(Step::Binary(*operator));
                self.depth -= 1;
                if operator.yields_truth() { Kind::Truth } else { Kind::Number }
            }
            Node::Call { function, arguments } => {
                for argument in arguments {
                    self.expect(argument, Kind::Number);
                }
                self.steps.push(Step::Call(*function));
                self.depth -= arguments.len() - 1;
                Kind::Number
            }
        }
    }

    fn leaf(&mut self, step: Step) -> Kind {
        self.steps.push(step);
        self.depth += 1;
        self.depth_max = self.depth_max.max(self.depth);
        Kind::Number
    }

    fn expect(&mut self, node: &Node, wanted: Kind) {
        if self.add(node) != wanted {
            let (found, expected) = match wanted {
                Kind::Number => ("a condition", "a number"),
                Kind::Truth => ("a number", "a condition"),
            };
            self.errors.push(RuleErrorKind::Mixed { found, expected });
        }
    }

    fn input(&mut self, name: &str, offset: usize) -> u8 {
        let Some(index) = self.names.find(name) else {
            let nearest = self.names.nearest(name).map(str::to_owned);
            self.errors.push(RuleErrorKind::UnknownSignal { name: name.to_owned(), offset, nearest });
            return 0;
        };
        let place = self.inputs.iter().position(|&known| known == index).unwrap_or_else(|| {
            self.inputs.push(index);
            self.inputs.len() - 1
        });
        place as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> SignalNames {
        let mut names = SignalNames::new();
        names.extend(["a.x_m", "b", "c"]);
        names
    }

    fn holds(text: &str, values: [f64; 3]) -> Option<bool> {
        let mut inputs = Vec::new();
        let program = Program::compile(text, &names(), &mut inputs).unwrap();
        let values: Vec<f64> = inputs.iter().map(|index| values[index.0 as usize]).collect();
        program.holds(&values)
    }

    #[test]
    fn programs_compute_what_the_text_says() {
        let values = [0.1, 2.0, -3.0];
        for (text, expected) in [
            ("a.x_m > 0.08", true),
            ("a.x_m > 0.08 and b < 2", false),
            ("a.x_m > 0.08 and b < 2 or c == -3", true),
            ("not (b >= 2) or not c != -3", true),
            ("hypot(b + 1, -4) == 5", true),
            ("max(a.x_m, b) - min(b, c) * 2 / 4 == 3.5", true),
            ("abs(c) == 3 and sqrt(b * 2) == 2", true),
            ("1 - 2 - 3 == -4", true),
        ] {
            assert_eq!(holds(text, values), Some(expected), "{text}");
        }
        assert_eq!(holds("not (sqrt(c) > 1)", values), None, "nothing follows from what is no number");
        assert_eq!(holds("b / (a.x_m - a.x_m) > 1", values), None);
    }

    #[test]
    fn all_errors_of_meaning_come_at_once() {
        let errors = Program::compile("a.x_n > 1 and bb < 2 and 3", &names(), &mut Vec::new()).unwrap_err();
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 3, "{text:?}");
        assert!(text[0].contains("the nearest is a.x_m"));
        assert!(text[2].contains("found a number, expected a condition"));
        let deep = format!("{}1{} > 0", "1 + (".repeat(20), ")".repeat(20));
        assert!(matches!(
            Program::compile(&deep, &names(), &mut Vec::new()).unwrap_err()[..],
            [RuleErrorKind::TooDeep { depth: 21, depth_max: 16 }]
        ));
    }
}
