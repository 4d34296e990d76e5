//! The language of conditions.
//!
//! ```text
//! condition  = and { ("or" | "||") and }            and   = not { ("and" | "&&") not }
//! not        = ("not" | "!") not | comparison       comparison = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ]
//! sum        = product { ("+" | "-") product }      product = sign { ("*" | "/") sign }
//! sign       = "-" sign | number | name | function "(" sum { "," sum } ")" | "(" condition ")"
//! function   = abs | min | max | sqrt | hypot       name = letters, digits, "_" and "." (a signal)
//! ```
//! A condition is either true or false; numbers are never taken for truth, nor truth for numbers.

/// A parsed expression with the byte offset of each part that can be wrong later.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Number(f64),
    Signal { name: String, offset: usize },
    Negate(Box<Node>),
    Not(Box<Node>),
    Binary { operator: Operator, left: Box<Node>, right: Box<Node> },
    Call { function: Function, arguments: Vec<Node> },
}

/// What stands between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operator {
    /// Whether it joins truths (else numbers).
    pub(super) const fn joins_truths(self) -> bool {
        matches!(self, Self::Or | Self::And)
    }

    /// Whether it yields a truth.
    pub(super) const fn yields_truth(self) -> bool {
        !matches!(self, Self::Add | Self::Subtract | Self::Multiply | Self::Divide)
    }
}

/// Functions of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    Sqrt,
    Min,
    Max,
    Hypot,
}

impl Function {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "abs" => Self::Abs,
            "sqrt" => Self::Sqrt,
            "min" => Self::Min,
            "max" => Self::Max,
            "hypot" => Self::Hypot,
            _ => return None,
        })
    }

    const fn arguments(self) -> usize {
        match self {
            Self::Abs | Self::Sqrt => 1,
            Self::Min | Self::Max | Self::Hypot => 2,
        }
    }
}

/// Where and why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) offset: usize,
    pub(super) reason: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    Symbol(&'static str),
}

/// Longer symbols stand before their beginnings.
const SYMBOLS: [&str; 16] = ["<=", ">=", "==", "!=", "&&", "||", "<", ">", "+", "-", "*", "/", "(", ")", ",", "!"];
/// Deeper nesting is refused; it bounds the parser's own stack.
const DEPTH_MAX: usize = 64;

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let tokens = tokenise(text)?;
    let mut parser = Parser { tokens: &tokens, next: 0, end: text.len(), depth: 0 };
    let node = parser.or()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.unexpected("the end, or 'and' or 'or'")),
    }
}

fn tokenise(text: &str) -> Result<Vec<(usize, Token)>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut offset = 0;
    while let Some(first) = text[offset..].chars().next() {
        let rest = &text[offset..];
        let taken = if first.is_whitespace() {
            first.len_utf8()
        } else if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            let len = number_len(rest);
            let number = rest[..len]
                .parse()
                .map_err(|_| SyntaxError { offset, reason: format!("{:?} is not a number", &rest[..len]) })?;
            tokens.push((offset, Token::Number(number)));
            len
        } else if first.is_ascii_alphabetic() || first == '_' {
            let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
            tokens.push((offset, Token::Name(rest[..len].to_owned())));
            len
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push((offset, Token::Symbol(symbol)));
            symbol.len()
        } else {
            return Err(SyntaxError { offset, reason: format!("{first:?} means nothing here") });
        };
        offset += taken;
    }
    Ok(tokens)
}

/// Length of the number that `text` begins with; an exponent may carry a sign.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut len = 0;
    while let Some(&byte) = bytes.get(len) {
        let after_exponent = len > 0 && matches!(bytes[len - 1], b'e' | b'E');
        let belongs = byte.is_ascii_alphanumeric() || byte == b'.' || (after_exponent && matches!(byte, b'+' | b'-'));
        if !belongs {
            break;
        }
        len += 1;
    }
    len
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    next: usize,
    end: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn offset(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(offset, _)| *offset)
    }

    fn unexpected(&self, expected: &str) -> SyntaxError {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Number(number)) => number.to_string(),
            Some(Token::Name(name)) => format!("{name:?}"),
            Some(Token::Symbol(symbol)) => format!("{symbol:?}"),
        };
        SyntaxError { offset: self.offset(), reason: format!("found {found}, expected {expected}") }
    }

    /// Takes one of the given symbols or words.
    fn take(&mut self, choices: &[(&str, Operator)]) -> Option<Operator> {
        let found = match self.peek()? {
            Token::Symbol(symbol) => choices.iter().find(|choice| choice.0 == *symbol),
            Token::Name(name) => choices.iter().find(|choice| choice.0 == name.as_str()),
            Token::Number(_) => None,
        }?;
        self.next += 1;
        Some(found.1)
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let is_next = self.peek().is_some_and(|token| *token == Token::Name(symbol.to_owned()))
            || matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.next += usize::from(is_next);
        is_next
    }

    fn chain(
        &mut self,
        choices: &[(&str, Operator)],
        part: fn(&mut Self) -> Result<Node, SyntaxError>,
    ) -> Result<Node, SyntaxError> {
        let mut left = part(self)?;
        while let Some(operator) = self.take(choices) {
            left = Node::Binary { operator, left: Box::new(left), right: Box::new(part(self)?) };
        }
        Ok(left)
    }

    fn or(&mut self) -> Result<Node, SyntaxError> {
        self.chain(&[("or", Operator::Or), ("||", Operator::Or)], Self::and)
    }

    fn and(&mut self) -> Result<Node, SyntaxError> {
        self.chain(&[("and", Operator::And), ("&&", Operator::And)], Self::not)
    }

    fn not(&mut self) -> Result<Node, SyntaxError> {
        if self.take_symbol("not") || self.take_symbol("!") {
            return Ok(Node::Not(Box::new(self.deeper(Self::not)?)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Node, SyntaxError> {
        let choices = [
            ("<=", Operator::LessEqual),
            (">=", Operator::GreaterEqual),
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let left = self.sum()?;
        let Some(operator) = self.take(&choices) else { return Ok(left) };
        let node = Node::Binary { operator, left: Box::new(left), right: Box::new(self.sum()?) };
        let offset = self.offset();
        if self.take(&choices).is_some() {
            let reason = "comparisons do not chain: write a < b and b < c".to_owned();
            return Err(SyntaxError { offset, reason });
        }
        Ok(node)
    }

    fn sum(&mut self) -> Result<Node, SyntaxError> {
        self.chain(&[("+", Operator::Add), ("-", Operator::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<Node, SyntaxError> {
        self.chain(&[("*", Operator::Multiply), ("/", Operator::Divide)], Self::sign)
    }

    fn sign(&mut self) -> Result<Node, SyntaxError> {
        if self.take_symbol("-") {
            return Ok(Node::Negate(Box::new(self.deeper(Self::sign)?)));
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Node, SyntaxError> {
        let offset = self.offset();
        if self.take_symbol("(") {
            let node = self.deeper(Self::or)?;
            return if self.take_symbol(")") { Ok(node) } else { Err(self.unexpected("')'")) };
        }
        match self.peek().cloned() {
            Some(Token::Number(number)) => {
                self.next += 1;
                Ok(Node::Number(number))
            }
            Some(Token::Name(name)) if !["and", "or", "not"].contains(&name.as_str()) => {
                self.next += 1;
                if self.take_symbol("(") { self.call(&name, offset) } else { Ok(Node::Signal { name, offset }) }
            }
            _ => Err(self.unexpected("a number, a signal, a function or '('")),
        }
    }

    fn call(&mut self, name: &str, offset: usize) -> Result<Node, SyntaxError> {
        let function = Function::named(name).ok_or_else(|| SyntaxError {
            offset,
            reason: format!("no function is called {name:?}: there are abs, sqrt, min, max and hypot"),
        })?;
        let mut arguments = vec![self.deeper(Self::sum)?];
        while self.take_symbol(",") {
            arguments.push(self.deeper(Self::sum)?);
        }
        if !self.take_symbol(")") {
            return Err(self.unexpected("',' or ')'"));
        }
        if arguments.len() != function.arguments() {
            let (given, wanted) = (arguments.len(), function.arguments());
            return Err(SyntaxError { offset, reason: format!("{name} takes {wanted} values, {given} are given") });
        }
        Ok(Node::Call { function, arguments })
    }

    fn deeper(&mut self, part: fn(&mut Self) -> Result<Node, SyntaxError>) -> Result<Node, SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let reason = format!("nested deeper than {DEPTH_MAX}");
            return Err(SyntaxError { offset: self.offset(), reason });
        }
        let node = part(self);
        self.depth -= 1;
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn binding_is_as_in_arithmetic() {
        let bind = |text: &str| {
            let tree = format!("{:?}", parse(text).unwrap());
            // Places differ; the trees must not.
            tree.split(", offset: ")
                .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned())
                .collect::<String>()
        };
        assert_eq!(
            bind("a + b * 2 > 1 and not c < 3 or d == 1"),
            bind("(((a + (b * 2)) > 1) and (not (c < 3))) or (d == 1)")
        );
        assert_eq!(bind("1 - 2 - 3"), bind("(1 - 2) - 3"));
        assert_eq!(bind("-a.b_m < 1e-3 && !(x > 2)"), bind("-a.b_m<0.001 and not (x>2)"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, offset, part) in [
            ("", 0, "the end"),
            ("a >", 3, "the end"),
            ("a > 1 b", 6, "\"b\""),
            ("(a > 1", 6, "')'"),
            ("0 < a < 1", 6, "do not chain"),
            ("a > 1 § 2", 6, "'§'"),
            ("sin(a) > 1", 0, "no function"),
            ("max(a) > 1", 0, "takes 2"),
            ("a > 1.2.3", 4, "not a number"),
            ("a and or b", 6, "\"or\""),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.offset, offset, "{text}: {}", error.reason);
            assert!(error.reason.contains(part), "{text}: {}", error.reason);
        }
        assert!(parse(&"(".repeat(10_000)).unwrap_err().reason.contains("deeper"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            parse(&text).ok();
        }

        #[test]
        fn no_row_of_tokens_makes_it_panic(tokens in proptest::collection::vec("[a-c]|[0-9]|<|>=|and|or|not|\\(|\\)|-|\\*|max|,", 0..30)) {
            parse(&tokens.join(" ")).ok();
        }
    }
}
