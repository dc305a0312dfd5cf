//! Accepts a parameter that is one text or a list of texts.

mod sealed {
    pub trait Sealed {}
}

/// Takes one text or several of them.
///
/// The trait is implemented for `&str`, `String`, arrays, slices and `Vec`. You cannot implement it
/// for other types. Collect an iterator into a `Vec<String>` first.
///
/// # Example
///
/// ```
/// use tower_oauth2::Origins;
///
/// let one = Origins::only("https://api.example.com")?;
/// let several = Origins::only(["https://api.example.com", "https://files.example.com"])?;
/// let configured: Vec<String> = vec!["https://api.example.com".to_owned()];
/// let listed = Origins::only(&configured)?;
/// # let _ = (one, several, listed);
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a text nor a list of texts",
    label = "expected a `&str`, a `String`, or an array, slice or `Vec` of them",
    note = "collect the items of an iterator into a `Vec<String>` first"
)]
pub trait OneOrMany: sealed::Sealed {
    #[doc(hidden)]
    fn into_texts(self) -> Vec<String>;
}

macro_rules! impl_for_text {
    ($($text:ty),*) => { $(
        impl sealed::Sealed for $text {}

        impl OneOrMany for $text {
            fn into_texts(self) -> Vec<String> {
                vec![String::from(self)]
            }
        }
    )* };
}

impl_for_text!(&str, String, &String);

macro_rules! impl_for_list {
    ($([$($generics:tt)*] $list:ty),*) => { $(
        impl<$($generics)*> sealed::Sealed for $list {}

        impl<$($generics)*> OneOrMany for $list {
            fn into_texts(self) -> Vec<String> {
                self.into_iter().map(|text| text.as_ref().to_owned()).collect()
            }
        }
    )* };
}

impl_for_list!(
    [T: AsRef<str>, const N: usize] [T; N],
    [T: AsRef<str>, const N: usize] &[T; N],
    [T: AsRef<str>] &[T],
    [T: AsRef<str>] Vec<T>,
    [T: AsRef<str>] &Vec<T>
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_lists_become_the_same_list() {
        let (a, b) = ("a".to_owned(), "b".to_owned());
        assert_eq!("a".into_texts(), ["a"]);
        assert_eq!((&a).into_texts(), ["a"]);
        assert_eq!(a.clone().into_texts(), ["a"]);
        assert_eq!(["a", "b"].into_texts(), ["a", "b"]);
        assert_eq!((&["a", "b"]).into_texts(), ["a", "b"]);
        assert_eq!((&["a", "b"][..]).into_texts(), ["a", "b"]);
        assert_eq!((&vec![a.clone(), b.clone()]).into_texts(), ["a", "b"]);
        assert_eq!(vec![a, b].into_texts(), ["a", "b"]);
    }
}
