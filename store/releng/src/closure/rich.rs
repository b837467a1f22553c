//! Rich dependencies: `(a and b)`, `(a if b else c)`, `(a with b)`, as rpm reads them.

use cairn_repodata::primary::{Compare, Dependency};

/// How deep expressions may lie in each other; rpm's own parser is recursive too, and real ones
/// have three levels.
const MAX_DEPTH: usize = 32;

/// A requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expr {
    One(Dependency),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// The first if the second, else the third.
    If(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
    /// The first unless the second, else the third.
    Unless(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
    /// One package that is all of them.
    With(Vec<Expr>),
    /// A package that is the first and not the second.
    Without(Box<Expr>, Box<Expr>),
}

impl Expr {
    /// Parses a dependency as metadata has it.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub(super) fn of(dependency: &Dependency) -> Result<Expr, String> {
        if !dependency.name.starts_with('(') {
            return Ok(Expr::One(dependency.clone()));
        }
        let mut parser = Parser { text: &dependency.name, at: 0 };
        let expr = parser.parenthesised(0)?;
        parser.skip_blanks();
        match parser.rest() {
            "" => Ok(expr),
            rest => Err(format!("{rest:?} follows its end")),
        }
    }

    /// Calls `visit` for every name and version in it.
    pub(super) fn each(&self, visit: &mut dyn FnMut(&Dependency)) {
        match self {
            Expr::One(dependency) => visit(dependency),
            Expr::And(list) | Expr::Or(list) | Expr::With(list) => {
                list.iter().for_each(|expr| expr.each(visit));
            }
            Expr::If(a, b, c) | Expr::Unless(a, b, c) => {
                a.each(visit);
                b.each(visit);
                if let Some(c) = c {
                    c.each(visit);
                }
            }
            Expr::Without(a, b) => {
                a.each(visit);
                b.each(visit);
            }
        }
    }

    /// Returns whether one package can be asked for it: names, and `with`, `without`, `or`.
    fn is_of_one_package(&self) -> bool {
        match self {
            Expr::One(_) | Expr::With(_) | Expr::Without(..) => true,
            Expr::Or(list) => list.iter().all(Expr::is_of_one_package),
            Expr::And(_) | Expr::If(..) | Expr::Unless(..) => false,
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn takes(&mut self, what: char) -> bool {
        let found = self.rest().starts_with(what);
        self.at += if found { what.len_utf8() } else { 0 };
        found
    }

    /// Reads what stands in a pair of parentheses: operands and the operators between them.
    fn parenthesised(&mut self, depth: usize) -> Result<Expr, String> {
        if depth == MAX_DEPTH {
            return Err(format!("it is more than {MAX_DEPTH} levels deep"));
        }
        if !self.takes('(') {
            return Err("it does not begin with a parenthesis".to_owned());
        }
        let first = self.operand(depth)?;
        let Some(operator) = self.operator()? else { return Ok(first) };
        let second = self.operand(depth)?;
        let mut list = vec![first, second];
        let mut otherwise = None;
        while let Some(next) = self.operator()? {
            match (operator, next) {
                ("and" | "or" | "with", next) if next == operator => {
                    list.push(self.operand(depth)?);
                }
                ("if" | "unless", "else") if otherwise.is_none() => {
                    otherwise = Some(Box::new(self.operand(depth)?));
                }
                _ => return Err(format!("{next:?} cannot follow {operator:?}")),
            }
        }
        if matches!(operator, "with" | "without") && !list.iter().all(Expr::is_of_one_package) {
            return Err(format!("{operator:?} is about one package"));
        }
        let two = |list: Vec<Expr>| {
            let mut list = list.into_iter().map(Box::new);
            (list.next().expect("two were read"), list.next().expect("two were read"))
        };
        Ok(match operator {
            "and" => Expr::And(list),
            "or" => Expr::Or(list),
            "with" => Expr::With(list),
            "if" => {
                let (a, b) = two(list);
                Expr::If(a, b, otherwise)
            }
            "unless" => {
                let (a, b) = two(list);
                Expr::Unless(a, b, otherwise)
            }
            _ => {
                let (a, b) = two(list);
                Expr::Without(a, b)
            }
        })
    }

    /// Reads an operator, or the closing parenthesis.
    fn operator(&mut self) -> Result<Option<&'t str>, String> {
        self.skip_blanks();
        if self.takes(')') {
            return Ok(None);
        }
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || c == '(' || c == ')');
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        match word {
            "and" | "or" | "if" | "unless" | "else" | "with" | "without" => Ok(Some(word)),
            "" => Err("a parenthesis is not closed".to_owned()),
            word => Err(format!("{word:?} is no operator")),
        }
    }

    fn operand(&mut self, depth: usize) -> Result<Expr, String> {
        self.skip_blanks();
        if self.rest().starts_with('(') {
            return self.parenthesised(depth + 1);
        }
        let name = self.name();
        if name.is_empty() {
            return Err("an operand is missing".to_owned());
        }
        let mut dependency = Dependency { name: name.to_owned(), ..Dependency::default() };
        self.skip_blanks();
        let rest = self.rest();
        let sign = &rest[..rest.find(|c| !"<=>".contains(c)).unwrap_or(rest.len())];
        dependency.compare = match sign {
            "" => return Ok(Expr::One(dependency)),
            "<" => Some(Compare::Lt),
            "<=" | "=<" => Some(Compare::Le),
            "=" | "==" => Some(Compare::Eq),
            ">=" | "=>" => Some(Compare::Ge),
            ">" => Some(Compare::Gt),
            sign => return Err(format!("{sign:?} is no comparison")),
        };
        self.at += sign.len();
        self.skip_blanks();
        let version = self.name();
        if version.is_empty() {
            return Err(format!("no version follows {sign:?}"));
        }
        let (epoch, version) = match version.split_once(':') {
            Some((epoch, version)) => (Some(epoch.to_owned()), version),
            None => (None, version),
        };
        let (version, release) = match version.rsplit_once('-') {
            Some((version, release)) => (version, Some(release.to_owned())),
            None => (version, None),
        };
        dependency.epoch = epoch;
        dependency.version = Some(version.to_owned());
        dependency.release = release;
        Ok(Expr::One(dependency))
    }

    /// Reads a name up to a blank or the parenthesis that closes the expression; those that are
    /// opened in it, as in `perl(Carp)`, are closed in it.
    fn name(&mut self) -> &'t str {
        let rest = self.rest();
        let mut open = 0usize;
        let end = rest.find(|c: char| match c {
            '(' => {
                open += 1;
                false
            }
            ')' if open == 0 => true,
            ')' => {
                open -= 1;
                false
            }
            c => c.is_whitespace(),
        });
        let name = &rest[..end.unwrap_or(rest.len())];
        self.at += name.len();
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Expr, String> {
        Expr::of(&Dependency { name: text.to_owned(), ..Dependency::default() })
    }

    fn one(name: &str) -> Expr {
        Expr::One(Dependency { name: name.to_owned(), ..Dependency::default() })
    }

    #[test]
    fn expressions_are_read_as_rpm_reads_them() {
        let boxed = |name: &str| Box::new(one(name));
        let cases = [
            ("bash", one("bash")),
            ("(a)", one("a")),
            ("( a and b and c )", Expr::And(vec![one("a"), one("b"), one("c")])),
            ("(a or (b and c))", Expr::Or(vec![one("a"), Expr::And(vec![one("b"), one("c")])])),
            ("(a if b)", Expr::If(boxed("a"), boxed("b"), None)),
            ("(a if b else c)", Expr::If(boxed("a"), boxed("b"), Some(boxed("c")))),
            ("(a unless b else c)", Expr::Unless(boxed("a"), boxed("b"), Some(boxed("c")))),
            (
                "(perl(Carp) with libc.so.6()(64bit))",
                Expr::With(vec![one("perl(Carp)"), one("libc.so.6()(64bit)")]),
            ),
            ("(a without b)", Expr::Without(boxed("a"), boxed("b"))),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        let Ok(Expr::And(list)) = parse("(a >= 1:2.0-3.el9 and b<2)") else { panic!() };
        let Expr::One(a) = &list[0] else { panic!() };
        assert_eq!(a.to_string(), "a >= 1:2.0-3.el9");
        // rpm separates names from comparisons by blanks alone.
        assert_eq!(list[1], one("b<2"));
    }

    #[test]
    fn what_is_no_expression_says_why() {
        let deep = format!("{}a{}", "(".repeat(40), ")".repeat(40));
        let cases = [
            ("(", "an operand is missing"),
            ("()", "an operand is missing"),
            ("(a", "a parenthesis is not closed"),
            ("(a b)", "\"b\" is no operator"),
            ("(a and)", "an operand is missing"),
            ("(a and b or c)", "\"or\" cannot follow \"and\""),
            ("(a if b if c)", "\"if\" cannot follow \"if\""),
            ("(a if b else c else d)", "\"else\" cannot follow \"if\""),
            ("(a without b without c)", "\"without\" cannot follow \"without\""),
            ("((a and b) with c)", "\"with\" is about one package"),
            ("(a <> 1 and b)", "\"<>\" is no comparison"),
            ("(a >= )", "no version follows \">=\""),
            ("(a and b) c", "\"c\" follows its end"),
            (&deep, "it is more than 32 levels deep"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "[(]([()ab<=> ]|and|or|if|else|with|unless|é){0,40}") {
            let _ = parse(&text);
        }
    }
}
