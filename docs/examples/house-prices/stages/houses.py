"""What a house looks like to the model. Training and serving share it, so that both see the same features."""
import numpy as np

NUMBERS = ["area", "rooms", "age", "distance", "floor", "garden", "condition"]
MAY_BE_UNKNOWN = ["age", "distance"]


def numbers(houses, name):
    """A column of numbers; what is missing is not a number."""
    return np.array([float("nan" if house.get(name) in ("", None) else house[name]) for house in houses])


def features(houses, medians, places):
    """The features of some houses as a table, and the names of its columns. Medians stand in for what is unknown."""
    columns = {name: numbers(houses, name) for name in NUMBERS}
    for name in MAY_BE_UNKNOWN:
        unknown = np.isnan(columns[name])
        columns[name + "_unknown"] = unknown.astype(float)
        columns[name] = np.where(unknown, medians[name], columns[name])
    columns["log_area"] = np.log(columns["area"])
    columns["area_per_room"] = columns["area"] / columns["rooms"]
    columns["central"] = np.exp(-columns["distance"] / 10)
    columns["garden_central"] = columns["garden"] * columns["central"]
    for place in places:
        columns["in_" + place.lower().replace(" ", "_")] = np.array([float(house["neighbourhood"] == place) for house in houses])
    return np.column_stack(list(columns.values())), list(columns)
