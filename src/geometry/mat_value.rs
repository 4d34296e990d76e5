//! MATLAB values, as [`super::mat`] gives them.

/// One MATLAB value.
#[derive(Clone, Debug, PartialEq)]
pub enum MatValue {
    /// An array of numbers or logicals.
    Numbers(MatArray),
    /// A row of characters.
    Text(String),
    /// A cell array, column-major.
    Cell {
        /// Size.
        dims: Vec<usize>,
        /// The cells.
        items: Vec<MatValue>,
    },
    /// A struct array: for each field, one value for each element (column-major).
    Struct {
        /// Size.
        dims: Vec<usize>,
        /// Fields in file order.
        fields: Vec<(String, Vec<MatValue>)>,
    },
    /// Something this reader does not look into; the text names its class.
    Other(&'static str),
}

/// An array of numbers in column-major order: element (i, j, k) is at `i + dims[0] * (j + dims[1] * k)`.
#[derive(Clone, Debug, PartialEq)]
pub struct MatArray {
    /// Size, at least two entries.
    pub dims: Vec<usize>,
    /// The numbers.
    pub data: Vec<f64>,
}

impl MatArray {
    /// Element at `index` (one subscript for each dimension), or `None` outside the array.
    pub fn at(&self, index: &[usize]) -> Option<f64> {
        if index.len() != self.dims.len() || index.iter().zip(&self.dims).any(|(i, n)| i >= n) {
            return None;
        }
        let flat = index.iter().zip(&self.dims).rev().fold(0, |sum, (i, n)| sum * n + i);
        self.data.get(flat).copied()
    }
}

impl MatValue {
    /// Kind and size in words, for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Numbers(array) => format!("numbers {:?}", array.dims),
            Self::Text(text) => format!("text {text:?}"),
            Self::Cell { dims, .. } => format!("cell {dims:?}"),
            Self::Struct { dims, fields } => {
                let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
                format!("struct {dims:?} with fields {}", names.join(", "))
            }
            Self::Other(class) => (*class).to_owned(),
        }
    }

    /// The numbers, when it is an array of numbers.
    pub fn numbers(&self) -> Option<&MatArray> {
        if let Self::Numbers(array) = self { Some(array) } else { None }
    }

    /// The text, when it is text.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The cells, when it is a cell array.
    pub fn cells(&self) -> Option<&[MatValue]> {
        if let Self::Cell { items, .. } = self { Some(items) } else { None }
    }

    /// Field `name` of element `index` of a struct array.
    pub fn field(&self, name: &str, index: usize) -> Option<&MatValue> {
        let Self::Struct { fields, .. } = self else { return None };
        fields.iter().find(|(field, _)| field == name).and_then(|(_, values)| values.get(index))
    }
}
