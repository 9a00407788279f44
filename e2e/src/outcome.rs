//! How a test ends.

/// What a test returns: `?` on any error fails it on the spot.
pub type Outcome = Result<(), Failed>;

/// Never made: turning an error into it panics, at the place of the `?`. So the test unwinds,
/// and what it used is dropped knowing that it failed, and shows logs and state.
#[derive(Debug)]
pub enum Failed {}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    #[track_caller]
    fn from(error: E) -> Self {
        panic!("{:#}", error.into());
    }
}
