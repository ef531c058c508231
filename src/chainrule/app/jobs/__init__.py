"""The jobs a user asks for, without a screen: train on data, predict, evaluate."""
