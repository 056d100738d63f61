"""The cheapest one-to-one assignment of rows to columns, exact, for tables of up to some hundreds."""

from __future__ import annotations

import numpy as np

from mien.errors import ShapeError


def assignment(cost: np.ndarray, limit: float) -> list[tuple[int, int]]:
    """Pairs (row, column), at most one a row and one a column, at the least total cost; indices are whole numbers from 0.

    A row or column that is left alone costs `limit`, so that no pair at `limit` or above is ever made. By shortest
    augmenting paths (Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear
    assignment problems", Computing 38, 1987).

    Args:
        cost: (N, M) real numbers; infinite for a pair that must not be.
        limit: cost of leaving a pair unmade.

    Returns:
        pairs in the order of the rows.

    Raises:
        ShapeError: not a table, or NaN.
    """
    cost = np.asarray(cost, float)
    if cost.ndim != 2 or np.isnan(cost).any():
        raise ShapeError(f"expected a table (N, M) of costs without NaN, got shape {cost.shape}")
    if not cost.size:
        return []
    clipped = np.minimum(cost, limit)
    turned = len(clipped) > clipped.shape[1]
    owners = _owners(clipped.T if turned else clipped)
    pairs = [(int(column), row) if turned else (row, int(column)) for row, column in enumerate(owners)]
    return sorted((row, column) for row, column in pairs if cost[row, column] < limit)


def _owners(cost: np.ndarray) -> np.ndarray:
    """The column of each row, for at least as many columns as rows."""
    rows, columns = cost.shape
    of_row, of_column = np.full(rows, -1), np.full(columns, -1)
    price_row, price_column = np.zeros(rows), np.zeros(columns)
    for start in range(rows):
        shortest, before = np.full(columns, np.inf), np.full(columns, -1)
        done = np.zeros(columns, bool)
        row, length, column = start, 0.0, -1
        while column < 0 or of_column[column] >= 0:
            if column >= 0:
                row = of_column[column]
            reach = length + cost[row] - price_row[row] - price_column
            nearer = ~done & (reach < shortest)
            shortest[nearer], before[nearer] = reach[nearer], row
            column = int(np.argmin(np.where(done, np.inf, shortest)))
            length = shortest[column]
            done[column] = True
        price_row[start] += length
        for seen in np.flatnonzero(done):
            gain = length - shortest[seen]
            price_column[seen] -= gain
            if of_column[seen] >= 0:
                price_row[of_column[seen]] += gain
        while True:  # turn the path round, from its free end back to the new row
            row = before[column]
            of_column[column] = row
            of_row[row], column = column, of_row[row]
            if row == start:
                break
    return of_row
