//! Majorities.

/// The highest value that a majority has reached, or `None` of an empty set.
pub(crate) fn reached_by_majority<T: Ord + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable_by(|a, b| b.cmp(a));
    values.get(values.len() / 2).copied()
}

/// Whether `count` of `total` is a majority.
pub(crate) fn is_majority(count: usize, total: usize) -> bool {
    count > total / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majority_of_an_even_number_is_more_than_half() {
        assert!(!is_majority(1, 2));
        assert!(is_majority(2, 2));
        assert!(!is_majority(2, 4));
        assert!(is_majority(3, 4));
        assert!(is_majority(1, 1));
        assert!(!is_majority(0, 0));
    }

    #[test]
    fn what_a_majority_reached_is_the_middle_rounded_down() {
        assert_eq!(reached_by_majority(vec![3, 9, 5]), Some(5));
        assert_eq!(reached_by_majority(vec![3, 9]), Some(3));
        assert_eq!(reached_by_majority(vec![4, 1, 3, 2]), Some(2));
        assert_eq!(reached_by_majority(vec![7]), Some(7));
        assert_eq!(reached_by_majority::<u64>(vec![]), None);
    }
}
