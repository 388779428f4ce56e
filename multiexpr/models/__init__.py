"""Networks shared by the scorers: the people detector and the LAION aesthetic predictor."""
