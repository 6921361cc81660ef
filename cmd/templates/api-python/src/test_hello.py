from .hello import main


def test_greets_by_name():
    answer = main({"pathParameters": {"name": "Ada"}}, None)
    assert answer["statusCode"] == 200
    assert answer["body"] == "Hello, Ada!"
